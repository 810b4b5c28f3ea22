package corpus

import "testing"

// show draws what training sees, so both have to know an image by the same key, wherever it lies.
func TestRowKey(t *testing.T) {
	for _, image := range []string{"adidas/1.jpg", "/somewhere/else/adidas/1.jpg", "1.jpg"} {
		if got := (Row{Image: image, Label: "adidas"}).Key(); got != "adidas/1.jpg" {
			t.Errorf("%s is known as %q, want adidas/1.jpg", image, got)
		}
	}
}
