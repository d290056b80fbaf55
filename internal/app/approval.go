package app

import "time"

// askAhead is how long before a renewal the back end is asked: longer than an Ask takes.
const askAhead = 15 * time.Second
