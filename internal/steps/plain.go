package steps

import "ci-jobs-metrics/internal/job"

// A plain reads JSON as programs nearly always write it: objects of known fields in
// lower case whose values are numbers, or strings of printable ASCII in which nothing
// is escaped. It reads them several times as fast as encoding/json, which checks, splits
// and assigns in one pass each. Where anything is unusual, an error among others, it
// gives up, and that is decodeObject's.
type plain struct {
	text string // what reports get are parts of it
	at   int
}

// array reads an array with something in it, but not too much, and nothing behind it.
// Its error is errBusy.
func (p *plain) array(c *claim) (items []item, ok bool, err error) {
	if !p.skip('[') {
		return nil, false, nil
	}
	for len(items) < MaxItems {
		if err := c.forJob(len(items)); err != nil {
			return nil, false, err
		}
		report, ok := p.object()
		if !ok {
			return nil, false, nil
		}
		items = append(items, item{report: report})
		switch p.next() {
		case ',':
			p.at++
		case ']':
			p.at++
			return items, p.end(), nil
		default:
			return nil, false, nil
		}
	}
	return nil, false, nil
}

// object reads an object and leaves p behind it.
func (p *plain) object() (r job.Report, ok bool) {
	if !p.skip('{') {
		return r, false
	}
	for {
		key, ok := p.string()
		if !ok || !isPlainKey(key) || !p.skip(':') {
			return r, false
		}
		value, ok := p.value()
		if !ok {
			return r, false
		}
		if f := field(&r, key); f != nil {
			*f = value // the last one counts, as in encoding/json
		}
		switch p.next() {
		case ',':
			p.at++
		case '}':
			p.at++
			return r, true
		default:
			return r, false
		}
	}
}

func (p *plain) value() (string, bool) {
	if p.next() == '"' {
		return p.string()
	}
	return p.number()
}

// string reads a string in which nothing is escaped.
func (p *plain) string() (string, bool) {
	if !p.skip('"') {
		return "", false
	}
	for i := p.at; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			s := p.text[p.at:i]
			p.at = i + 1
			return s, true
		case c < ' ' || c > '~' || c == '\\':
			return "", false
		}
	}
	return "", false
}

// number reads a number without an exponent, as it is written.
func (p *plain) number() (string, bool) {
	from := p.at
	if p.peek() == '-' {
		p.at++
	}
	whole := p.digits()
	if whole == 0 || whole > 1 && p.text[p.at-whole] == '0' {
		return "", false
	}
	if p.peek() == '.' {
		p.at++
		if p.digits() == 0 {
			return "", false
		}
	}
	return p.text[from:p.at], p.peek() != 'e' && p.peek() != 'E'
}

// digits passes digits, and returns how many.
func (p *plain) digits() int {
	from := p.at
	for c := p.peek(); '0' <= c && c <= '9'; c = p.peek() {
		p.at++
	}
	return p.at - from
}

// skip passes c, if it comes next.
func (p *plain) skip(c byte) bool {
	if p.next() != c {
		return false
	}
	p.at++
	return true
}

// next passes white space and returns what comes then; 0 at the end.
func (p *plain) next() byte {
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// end reports whether nothing but white space is left.
func (p *plain) end() bool {
	p.next()
	return p.at == len(p.text)
}

// peek is the character that comes next; 0 at the end.
func (p *plain) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}
