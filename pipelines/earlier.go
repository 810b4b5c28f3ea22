package pipelines

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/logobeam/logobeam/pipelines/scores"
)

// earlier is the posts that earlier nights have scored, as sorted hashes of 128 bits: 16 bytes a post.
type earlier []xxh3.Uint128

func compare(a, b xxh3.Uint128) int { return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo)) }

func (e earlier) has(post string) bool {
	if len(e) == 0 {
		return false
	}
	_, found := slices.BinarySearchFunc(e, xxh3.HashString128(post), compare)
	return found
}

// readEarlier reads the scored posts of outputs.
func readEarlier(ctx context.Context, outputs []string) (earlier, error) {
	var e earlier
	for _, out := range outputs {
		for post, err := range scores.PostIDs(ctx, out) {
			if err != nil {
				return nil, fmt.Errorf("--after: %w", err)
			}
			e = append(e, xxh3.HashString128(post))
		}
	}
	slices.SortFunc(e, compare)
	return slices.Clip(slices.Compact(e)), nil
}

// sameAnswers are the options without which two runs of one model may answer differently.
var sameAnswers = []string{"precision", "views", "size", "pixels", "truncated"}

// checkEarlier wants outputs that are finished, and whose posts this run would have scored alike.
func checkEarlier(ctx context.Context, outputs []string, run scores.Run) error {
	for _, out := range outputs {
		m, finished, err := scores.Finished(ctx, out)
		if err != nil {
			return fmt.Errorf("--after: %w", err)
		}
		if !finished {
			return fmt.Errorf("--after %s: it is not finished: run its score or retry again first", out)
		}
		if m.Run.ModelHash != run.ModelHash {
			return fmt.Errorf("--after %s: it was scored by another model, %s (hash %.8s; now %s, %.8s): its posts have to be scored anew, without --after",
				out, m.Run.Model, m.Run.ModelHash, run.Model, run.ModelHash)
		}
		for _, name := range sameAnswers {
			if there, here := m.Run.Option(name), run.Option(name); there != here {
				return fmt.Errorf("--after %s: it was scored with --%s %s (now %s): its posts have to be scored anew, without --after", out, name, there, here)
			}
		}
	}
	return nil
}
