package data

import (
	"fmt"
	"log/slog"
	"sync"
)

// maxWarnings is the number of damaged pictures that are told of one by one.
const maxWarnings = 20

// A damageLog logs which pictures of a source are damaged, each once however
// often it is read. It may be used by several goroutines.
type damageLog struct {
	log *slog.Logger // nil for none

	mu   sync.Mutex
	seen map[string]bool
}

// note logs the warning of a picture that was decoded. what says which picture
// it is.
func (l *damageLog) note(what, warning string) {
	if l.log == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	if l.seen[what] || len(l.seen) > maxWarnings {
		return
	}
	l.seen[what] = true
	if len(l.seen) > maxWarnings {
		l.log.Warn(fmt.Sprintf("More than %d pictures are damaged: no further ones are named", maxWarnings))
		return
	}
	l.log.Warn(what + ": " + warning)
}
