// Package nearest finds what somebody who misspelt a name may have meant, for error messages:
//
//	fmt.Errorf("unknown class %q%s", "addidas", nearest.Hint("addidas", classes)) // ...; did you mean "adidas"?
package nearest

import (
	"fmt"
	"slices"
	"strings"
)

// longest is the length in bytes of a name that is compared: the time it takes grows with the square.
const longest = 100

// Hint is `; did you mean "x"?` with the name that differs from the given one in the fewest letters (Levenshtein), case
// aside, and "" if they are not few. The first of equals wins.
func Hint(name string, names []string) string {
	if len(name) > longest {
		return ""
	}
	given := []rune(strings.ToLower(name))
	best, least := "", len(given)/3+2
	for _, n := range names {
		if len(n) > longest {
			continue
		}
		if d := distance(given, []rune(strings.ToLower(n))); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for k := range row {
		row[k] = k
	}
	for i := range a {
		last := slices.Clone(row)
		row[0] = i + 1
		for k := range b {
			change := last[k]
			if a[i] != b[k] {
				change++
			}
			row[k+1] = min(change, last[k+1]+1, row[k]+1)
		}
	}
	return row[len(b)]
}
