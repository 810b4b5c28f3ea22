// Package storetest is a bucket for tests, on a server in the same process.
//
//	storetest.Bucket(t, nil)
//	s, err := store.At(ctx, "gs://bucket/folder")
package storetest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// Bucket makes gs://bucket an empty bucket until the test ends. Requests to it, from programs that the test starts too, go
// through wrap if it is given. The server may be asked for what the store cannot do.
func Bucket(t testing.TB, wrap func(http.Handler) http.Handler) (server *fakestorage.Server, address string) {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	address = web.Listener.Addr().String()
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: address})
	if err != nil {
		t.Fatal(err)
	}
	server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "bucket"})
	web.Config.Handler = server.HTTPHandler()
	if wrap != nil {
		web.Config.Handler = wrap(web.Config.Handler)
	}
	web.Start()
	t.Cleanup(web.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", address)
	return server, address
}
