package page

// What is written, for tests.
var (
	Count   = count
	Seconds = seconds
	Share   = share
	Hours   = hours
)
