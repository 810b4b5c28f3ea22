package fetch

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func TestBucket(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewUnstartedServer(nil)
	address := server.Listener.Addr().String()
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: address, ExternalURL: "http://" + address})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"a.jpg": 1000, "folder/b c?d#e%.jpg": 300 << 10, "folder/c.jpg": 10, "empty": 0, "large": 400<<10 + 1} {
		fake.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "bucket", Name: name}, Content: make([]byte, n)})
	}
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "refused"):
			w.WriteHeader(http.StatusForbidden)
		case strings.Contains(r.URL.Path, "slow"):
			select {
			case <-done:
			case <-r.Context().Done():
			}
		default:
			fake.HTTPHandler().ServeHTTP(w, r)
		}
	})
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(done) })
	t.Setenv("STORAGE_EMULATOR_HOST", address)
	f := fetcher(t, Config{MaxBytes: 400 << 10, Timeout: 5 * time.Second})
	images := []string{"gs://bucket/a.jpg", "gs://bucket/folder/b c?d#e%.jpg", "GS://bucket/empty", "gs://bucket/large", "gs://bucket/none", "gs://none/a.jpg",
		"gs://bucket/refused", "gs://bucket", "gs://bucket/", "gs:///a.jpg"}
	want := []struct {
		n      int
		reason Reason
	}{{1000, ""}, {300 << 10, ""}, {0, ""}, {0, TooLarge}, {0, NotFound}, {0, NotFound}, {0, Permission}, {0, BadURL}, {0, BadURL}, {0, BadURL}}
	for i, got := range all(t, f, images) {
		if len(got.Data) != want[i].n {
			t.Errorf("%s: %d bytes; want %d", images[i], len(got.Data), want[i].n)
		}
		if want[i].reason != "" {
			wantReason(t, got.Err, want[i].reason)
		} else if got.Err != nil {
			t.Error(got.Err)
		}
	}
	hurried := fetcher(t, Config{Timeout: 50 * time.Millisecond})
	wantReason(t, all(t, hurried, []string{"gs://bucket/slow"})[0].Err, Timeout)
	inside := []string{"c.jpg", "./c.jpg", "../a.jpg", "x/../c.jpg", "gs://bucket/a.jpg", "../../../a.jpg", ".."}
	folder := f.Under("gs://bucket/folder")
	err = folder.Each(t.Context(), inside, func(i Image) {
		defer i.Release()
		if i.Index < 5 && (i.Err != nil || len(i.Data) == 0) {
			t.Errorf("%s in a folder of the bucket: %d bytes, error %v", inside[i.Index], len(i.Data), i.Err)
		}
		if i.Index >= 5 {
			wantReason(t, i.Err, NotFound)
		}
	})
	if err != nil {
		t.Error(err)
	}
	if h := f.Stats().Hosts; len(h) != 2 || !strings.HasPrefix(h[0].Host, "gs://") {
		t.Errorf("hosts %v; want the two buckets", h)
	}
}
