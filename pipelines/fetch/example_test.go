package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing/fstest"

	"github.com/logobeam/logobeam/pipelines/fetch"
)

// album is where images lie that have no URL which others know. It could be a database, or a store of another cloud.
var album = fstest.MapFS{"2026/bmw.jpg": {Data: []byte("\xff\xd8...")}}

func init() {
	fetch.Register("album", func(_ context.Context, url string) (io.ReadCloser, error) {
		return album.Open(strings.TrimPrefix(url, "album://"))
	})
}

// A source of one's own has a scheme, by which listings name its images.
func ExampleRegister() {
	f, err := fetch.New(fetch.Config{MaxBytes: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	data, err := f.Fetch(context.Background(), "album://2026/bmw.jpg")
	fmt.Println(len(data), err)

	_, err = f.Fetch(context.Background(), "album://2026/nike.jpg")
	var e *fetch.Error
	if errors.As(err, &e) {
		fmt.Println(e.Reason, "-", e.Detail)
	}
	// Output:
	// 5 <nil>
	// not-found - its source has no such image
}
