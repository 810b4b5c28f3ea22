package nearest

import (
	"strings"
	"testing"
)

func TestHint(t *testing.T) {
	names := []string{"adidas", "cocacola", "no-logo", "HP", "center-crop"}
	for name, want := range map[string]string{
		"addidas": "adidas", "Coca Cola": "cocacola", "nologo": "no-logo", "hp": "HP", "centre-crop": "center-crop",
		"ferrari": "", "": "", strings.Repeat("x", 1000): "",
	} {
		if want != "" {
			want = `; did you mean "` + want + `"?`
		}
		if got := Hint(name, names); got != want {
			t.Errorf("Hint(%.20q) = %q, want %q", name, got, want)
		}
	}
}
