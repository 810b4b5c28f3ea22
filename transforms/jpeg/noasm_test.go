//go:build !amd64 || noasm

package jpeg

func withoutAssembly(decode func() (Result, error)) outcome {
	r, err := decode()
	return outcome{r, err}
}
