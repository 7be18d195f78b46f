package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// applicationID marks a SQLite file as a ledger of ours: "CIJM".
const applicationID = 0x43494a4d

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the file to the schema of this program, one migration and one
// transaction at a time; the file itself counts them in user_version. For one without any
// it asks first.
func migrate(ctx context.Context, db *sql.Conn, now time.Time, mayBeNew func() error) error {
	version, names, err := knownSchema(ctx, db)
	if err != nil {
		return err
	}
	if version == 0 {
		if err := mayBeNew(); err != nil {
			return err
		}
	}
	// Only now, when it is known to be ours: this changes the file.
	var mode string
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("its file system has no shared memory for SQLite's write-ahead log (journal mode stays %q): choose a local disk", mode)
	}
	for ; version < len(names); version++ {
		script, err := fs.ReadFile(migrations, names[version])
		if err != nil {
			return err
		}
		if err := apply(ctx, db, version+1, string(script), now); err != nil {
			return fmt.Errorf("migration %d: %w", version+1, err)
		}
	}
	return nil
}

// knownSchema is how many migrations the file has seen, of those that this program
// knows by the given names. It refuses a file that has seen more.
func knownSchema(ctx context.Context, db *sql.Conn) (version int, names []string, err error) {
	if names, err = fs.Glob(migrations, "migrations/*.sql"); err != nil { // sorted
		return 0, nil, err
	}
	if version, err = schemaVersion(ctx, db); err != nil {
		return 0, nil, err
	}
	if version > len(names) {
		return 0, nil, fmt.Errorf("its schema %d is newer than this program, which knows up to %d: run the newer receiver again, or restore a backup from before it", version, len(names))
	}
	return version, names, nil
}

// schemaVersion is how many migrations the file has seen; 0 for an empty one. It
// refuses a database that is not a ledger.
func schemaVersion(ctx context.Context, db *sql.Conn) (int, error) {
	var version, id, tables int
	err := db.QueryRowContext(ctx, `SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_user_version, pragma_application_id`).Scan(&version, &id, &tables)
	switch {
	case err != nil:
		return 0, err
	case id == applicationID:
		return version, nil
	case id == 0 && version == 0 && tables == 0:
		return 0, nil
	}
	return 0, errors.New("it is a SQLite database, but not a ledger: choose another file")
}

func apply(ctx context.Context, db *sql.Conn, version int, script string, now time.Time) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if _, err := tx.ExecContext(ctx, script); err != nil {
		return err
	}
	if version == 1 {
		if _, err := tx.ExecContext(ctx, `INSERT INTO ledger (created) VALUES (?)`, micros(now)); err != nil {
			return err
		}
	}
	// Pragmas take no parameters.
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d; PRAGMA user_version = %d`, applicationID, version)); err != nil {
		return err
	}
	return tx.Commit()
}

// explain adds to an error of SQLite what to do about it.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff { // the low byte is the kind, the rest the detail
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("the file is not a SQLite database: choose another file, or restore a backup (%w)", err)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("the file is damaged: restore a backup (%w)", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("the file and its directory must be writable (%w)", err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full (%w)", err)
	case sqlite3.SQLITE_CONSTRAINT:
		if e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY {
			return fmt.Errorf("another program writes to this ledger: stop it (%w)", err)
		}
	case sqlite3.SQLITE_IOERR:
		if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE {
			return fmt.Errorf("the disk is full: there is no room for the index of the write-ahead log (%w)", err)
		}
		return fmt.Errorf("the disk fails, the system's log may say why (%w)", err)
	}
	return err
}
