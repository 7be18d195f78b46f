//go:build !linux

package watch

import "errors"

func newNotifier(string, func(string) bool, func(string)) (notifier, error) {
	return nil, errors.New("this system is not Linux")
}
