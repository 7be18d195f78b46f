package file

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// toUTF8 removes a byte order mark, and decodes the UTF-16 that one announces.
// half reports that the last character is not all there yet.
func toUTF8(raw []byte) (text []byte, half bool) {
	switch {
	case bytes.HasPrefix(raw, []byte("\xEF\xBB\xBF")):
		return raw[3:], false
	case bytes.HasPrefix(raw, []byte("\xFF\xFE")):
		return fromUTF16(raw[2:], binary.LittleEndian)
	case bytes.HasPrefix(raw, []byte("\xFE\xFF")):
		return fromUTF16(raw[2:], binary.BigEndian)
	}
	return raw, false
}

func fromUTF16(raw []byte, order binary.ByteOrder) (text []byte, half bool) {
	half = len(raw)%2 == 1
	text = make([]byte, 0, len(raw))
	for ; len(raw) >= 2; raw = raw[2:] {
		r := rune(order.Uint16(raw))
		if utf16.IsSurrogate(r) && len(raw) >= 4 {
			if r = utf16.DecodeRune(r, rune(order.Uint16(raw[2:]))); r != utf8.RuneError {
				raw = raw[2:]
			}
		} else if utf16.IsSurrogate(r) {
			return text, true // its other half is still to come
		}
		text = utf8.AppendRune(text, r)
	}
	return text, half
}
