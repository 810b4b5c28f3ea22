package pipelines

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/transforms"
)

// What is dealt out is no more than there is, and each has enough for the largest image.
func TestDivide(t *testing.T) {
	limits := transforms.Limits{Bytes: 32 << 20, Memory: 200 << 20}
	least := inUse() + besides + limits.Bytes + limits.Memory
	for _, more := range []int64{64 << 20, 200 << 20, 1 << 30, 16 << 30} {
		p, err := divide(least+more, limits)
		if err != nil {
			t.Errorf("%d MB more than the least: %v", more>>20, err)
			continue
		}
		all := limits.Bytes + limits.Memory + more
		if p.fetch < limits.Bytes || p.decode < limits.Memory || p.fetch+p.decode > all+(32<<20) || p.fetch+p.decode < all*9/10-(32<<20) {
			t.Errorf("of %d MB %d are for images and %d for pictures", all>>20, p.fetch>>20, p.decode>>20)
		}
	}
	_, err := divide(100<<20, limits)
	if err == nil {
		t.Fatal("100 MB are enough")
	}
	for _, want := range []string{"--memory 100 MB", "the largest image 232 MB", "--max-memory", "--max-bytes"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	var took, largest, needed int64 // what it says is enough is enough
	if _, err := fmt.Sscanf(err.Error(), "--memory 100 MB is too little: the model and the program take %d MB and the largest image %d MB; give %d MB", &took, &largest, &needed); err != nil {
		t.Fatal(err)
	}
	if _, err := divide((needed+16)<<20, limits); err != nil {
		t.Errorf("with what it asks for: %v", err)
	}
}

// Pictures are decoded together only as far as there is memory for them, a larger one alone, and all come to their end.
func TestDecodingMemory(t *testing.T) {
	noLeaks(t)
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 400, 400))); err != nil {
		t.Fatal(err)
	}
	header, err := transforms.Inspect(b.Bytes(), transforms.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	const workers = 4
	for _, budget := range []int64{header.Memory / 2, header.Memory, 5 * header.Memory / 2} {
		s := newTestScorer(t, newModel(t, 1), workers, Images{})
		s.answers = nil // each is to be decoded
		s.most = budget
		s.decoding = semaphore.NewWeighted(budget)
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "large.png"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
		for range chunksAtOnce {
			all.Go(func() {
				rows := new(listing.Posts)
				for range 8 {
					rows.Add(listing.Row{Image: "large.png"})
				}
				outcomes, err := s.score(ctx, root, rows)
				if err != nil {
					t.Error(err)
				}
				for _, o := range outcomes {
					if o.reject != nil {
						t.Errorf("%+v", *o.reject)
					}
				}
			})
		}
		all.Wait()
		stop()
		if !s.decoding.TryAcquire(budget) {
			t.Errorf("of a budget of %d bytes some are held still", budget)
		}
		s.close()
	}
}
