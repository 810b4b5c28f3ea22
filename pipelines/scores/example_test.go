package scores_test

import (
	"context"
	"fmt"

	"github.com/logobeam/logobeam/pipelines/scores"
)

// What score has written, row by row, with the columns that --keep carried over.
func ExampleScores() {
	ctx, out := context.Background(), "testdata/golden" // or gs://bucket/scored
	m, err := scores.ReadManifest(ctx, out)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Scored, "of", m.Rows, "and", m.Run.Keep[0])
	for s, err := range scores.Scores(ctx, out) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %s %v %q\n", s.PostID, s.Brand, s.Probability, s.Kept[0])
	}
	// Output:
	// 3 of 6 and zeta
	// 1 ford 0.5 "ann"
	// 2 no-logo 0.25 ""
	// 4 ford 1 "bob"
}
