package sqlite

import "testing"

// ReaderWrites tries to change the file over a connection that is for reading.
func (s *Store) ReaderWrites() error {
	_, err := s.reader.Exec(`DELETE FROM jobs`)
	return err
}

// Synchronous is the setting of the writing connection, which no other can see.
func (s *Store) Synchronous(t *testing.T) (level int) {
	if err := s.writer.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&level); err != nil {
		t.Fatal(err)
	}
	return level
}
