package sqlite

import "testing"

// Synchronous is the setting of the writing connection, which no other can see.
func (s *Store) Synchronous(t *testing.T) (level int) {
	if err := s.writer.QueryRow(`PRAGMA synchronous`).Scan(&level); err != nil {
		t.Fatal(err)
	}
	return level
}
