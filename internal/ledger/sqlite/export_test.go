package sqlite

import "testing"

// ReaderWrites tries to change the file over a connection that is for reading.
func (s *Store) ReaderWrites() error {
	_, err := s.reader.Exec(`DELETE FROM jobs`)
	return err
}

// Pragma is a setting of the writing connection, which no other can see.
func (s *Store) Pragma(t *testing.T, name string) (value int) {
	if err := s.writer.QueryRowContext(t.Context(), `PRAGMA `+name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// Reconnect closes and opens all connections.
func (s *Store) Reconnect(t *testing.T) error { return s.reconnect(t.Context()) }

// Doubt is what a commit leaves that failed, but went through: rows that the store does
// not know of.
func (s *Store) Doubt() { s.last, s.unsure = 0, true }

// JobPlan is how SQLite finds a job by its id.
func (s *Store) JobPlan(t *testing.T) (plan string) {
	var ignored int
	if err := s.reader.QueryRowContext(t.Context(), `EXPLAIN QUERY PLAN SELECT `+jobColumns+` FROM jobs `+jobByID, "x").
		Scan(&ignored, &ignored, &ignored, &plan); err != nil {
		t.Fatal(err)
	}
	return plan
}
