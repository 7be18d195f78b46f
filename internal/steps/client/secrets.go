package client

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// maxSecret bounds what is read of a file with certificates or a token.
const maxSecret = 1 << 20 // bytes

// authorities are the certificates of a private CA, in a file that may be replaced.
type authorities struct {
	path string
	info fs.FileInfo // of what was read; nil: nothing yet
}

// read returns the certificates if they changed, else nil. What can't be read
// changes nothing if something could be before.
func (a *authorities) read() (*x509.CertPool, error) {
	info, err := os.Stat(a.path)
	if err == nil && a.info != nil && os.SameFile(a.info, info) && a.info.Size() == info.Size() &&
		a.info.ModTime().Equal(info.ModTime()) {
		return nil, nil
	}
	var text []byte
	if err == nil {
		text, err = readSmall(a.path)
	}
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = fmt.Errorf("%s holds no certificate in PEM", a.path)
	}
	switch {
	case err != nil && a.info != nil:
		return nil, nil // it is being replaced
	case err != nil:
		return nil, fmt.Errorf("the CA's certificate: %w", err)
	}
	a.info = info
	return pool, nil
}

// A token authenticates the sender. It is read again for each attempt: the file is
// small, and replaced now and then.
type token struct {
	path string
	last string
}

// read returns the token. No error of it shows what is in the file.
func (t *token) read() (string, error) {
	text, err := readSmall(t.path)
	word := strings.TrimSpace(string(text))
	if err == nil && (word == "" || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' })) {
		err = errors.New(t.path + " must hold one line of visible ASCII characters without spaces")
	}
	if err == nil {
		t.last = word
	} else if t.last == "" {
		return "", fmt.Errorf("the token: %w", err)
	}
	return t.last, nil // while it is being replaced, the one before
}

func readSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer would hold us for ever
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	var b bytes.Buffer
	if n, err := io.Copy(&b, io.LimitReader(f, maxSecret+1)); err != nil {
		return nil, err
	} else if n > maxSecret {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxSecret)
	}
	return b.Bytes(), nil
}
