package client

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"ci-jobs-metrics/internal/steps/wire"
)

// ParseTarget turns what people write for a receiver into the address of its
// endpoint:
//
//	receiver                     http://receiver/steps
//	receiver:8080                http://receiver:8080/steps
//	2001:db8::1                  http://[2001:db8::1]/steps
//	https://ci.example/metrics/  https://ci.example/metrics/steps
//
// A path that already ends in /steps stays as it is.
func ParseTarget(target string) (*url.URL, error) {
	target = strings.TrimSpace(target)
	if target == "" {
		return nil, errors.New("the receiver's host name is empty")
	}
	u, err := url.Parse(withScheme(target))
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return nil, fmt.Errorf("receiver %q is no host name or URL: %w", target, err)
	}
	if err := checkURL(u); err != nil {
		return nil, fmt.Errorf("receiver %q: %w", u.Redacted(), err)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if !strings.HasSuffix(u.Path, wire.Path) {
		u.Path += wire.Path
	}
	u.RawPath, u.Fragment = "", ""
	return u, nil
}

// withScheme completes what is no URL yet. A bare IPv6 address gets its brackets.
func withScheme(target string) string {
	if strings.Contains(target, "://") {
		return target
	}
	if ip, err := netip.ParseAddr(target); err == nil && ip.Is6() {
		return "http://[" + strings.Replace(target, "%", "%25", 1) + "]"
	}
	return "http://" + target
}

func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%s:// can't be spoken; use http:// or https://", u.Scheme)
	case u.Hostname() == "":
		return errors.New("there is no host name in it")
	case strings.ContainsAny(u.Host, "$ {}"):
		return errors.New("the host name holds a variable that was not expanded")
	case u.RawQuery != "":
		return errors.New("an address with a query can't be used")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("port %s is not between 1 and 65535", port)
		}
	}
	return nil
}

// ParseProxy reads the address of a proxy; without a scheme it is http.
func ParseProxy(proxy string) (*url.URL, error) {
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	u, err := url.Parse(proxy)
	if err != nil {
		return nil, errors.New("proxy is no URL; write http://host:port") // the error would show its password
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, fmt.Errorf("proxy %q: use http://, https:// or socks5://", u.Redacted())
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("proxy %q: there is no host name in it", u.Redacted())
	}
	return u, nil
}
