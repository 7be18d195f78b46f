package reply

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// A compressor holds most of a megabyte.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// WorthIt is from how many bytes on compressing makes an answer fit into fewer packets.
const WorthIt = 1400

// Compress is a body as gzip.
func Compress(body []byte) []byte {
	var b bytes.Buffer
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(&b)
	_, _ = z.Write(body) // it fails only where the buffer does
	_ = z.Close()
	return b.Bytes()
}
