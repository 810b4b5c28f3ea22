// Package user gives a process a user's name and a home where it has none, as under a bare number in a container or with an
// empty environment: the initialisation of Beam's package expansionx asks for both and ends the program without. It is imported for
// that alone,
//
//	import _ "github.com/logobeam/logobeam/pipelines/user"
//
// and imports os and strconv alone, so that Go initialises it before Beam's packages, which need more.
package user

import (
	"os"
	"strconv"
)

// Where /etc/passwd knows the user, package os/user believes that and not these.
func init() {
	for name, value := range map[string]string{"USER": strconv.Itoa(os.Getuid()), "HOME": "/"} {
		if os.Getenv(name) == "" {
			os.Setenv(name, value)
		}
	}
}
