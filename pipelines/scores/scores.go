// Package scores is what a run of score writes: Parquet parts of scores and of rejects, a manifest, and _SUCCESS. Nothing
// else in the program writes output, and everything here can be read again:
//
//	run := scores.Run{Listing: "posts.csv", ListingHash: "8d0c…", Rows: 2, Chunks: 1, Model: "built-in", ModelHash: "3fa1…"}
//	out, err := scores.Open(ctx, "scored", "logobeam v1", run) // new, resumed or finished; another run's folder is refused
//	defer out.Close()
//	part := scores.NewPart(scores.Piece{Chunk: "9f86d081884c7d65", End: 40, Rows: 2}, run)
//	part.Score(scores.Score{PostID: "17", Brand: "adidas", Probability: 0.98, Frames: 1}, nil)
//	part.Reject(scores.Reject{PostID: "18", Image: "b.jpg", Stage: "fetch", Reason: "not-found", Detail: "no such file"}, nil)
//	done, err := part.Commit(ctx, "scored")
//	manifest, err := scores.Commit(ctx, "scored", []scores.Done{done})
//
// The output, a folder of a disk or a prefix of a bucket, holds
//
//	scores/part-CHUNK.parquet          post_id, brand, probability, frames, and the columns that are kept
//	rejects/part-CHUNK-HASH.parquet    post_id, image, stage, reason, detail, retryable, and the same; perhaps without rows
//	manifest.json                      what was run on what, and what came out
//	_SUCCESS                           written last
//	runs.jsonl, report.html            what is kept for people of how it went, perhaps; no part of the output
//
// # Exactly once
//
// A chunk is done when its file of scores is there, which is written once: whoever commits it first has made the part, and
// the part of whoever comes later is dropped (store.Writer.Commit does not replace). Its rejects were written before, under a
// name that is a hash of what is in them, so those of another attempt, which may have met other failures on the network,
// cannot take their place. The footer of the scores names the rejects that belong to them. So an attempt that dies leaves
// either nothing that counts, or a part that is whole, and one that comes too late takes its rejects away again. What does
// not count is removed by Commit before _SUCCESS is written.
//
// The same rows give the same bytes.
//
// # For readers
//
// The rows of a file are in the order of post_id, byte by byte, those of one post in the listing's, and the file says so. It is
// one row group, or none without rows, with pages of some thousand rows, whose bounds are in its column index, and post_id has a Bloom filter. So whoever
// looks a post up reads the footers, and one page. The metadata of a file are logobeam.model_hash, logobeam.options (JSON, by the
// names of flags) and, in scores, logobeam.part (a Done as JSON).
package scores

import "strings"

// Score is a row of scores/*.parquet: a photograph that was classified.
type Score struct {
	PostID      string  `parquet:"post_id"`     // as in the listing
	Brand       string  `parquet:"brand,dict"`  // a class of the model, which may be no-logo
	Probability float32 `parquet:"probability"` // of that class, 0 to 1
	Frames      int32   `parquet:"frames"`      // of the file: 1, or those of an animation, whose first one was classified
}

// Reject is a row of rejects/*.parquet: a row of the listing that could not be scored.
type Reject struct {
	PostID    string `parquet:"post_id"`     // as in the listing
	Image     string `parquet:"image"`       // as in the listing
	Stage     string `parquet:"stage,dict"`  // where it failed: listing, fetch, decode or infer
	Reason    string `parquet:"reason,dict"` // one of a closed set
	Detail    string `parquet:"detail"`      // for people
	Retryable bool   `parquet:"retryable"`   // another try may succeed
}

// Piece is what a part is made of: a chunk of the listing, or what an earlier round of it has rejected.
type Piece struct {
	Chunk   string `json:"chunk"` // names the part, by what it is made from
	Index   int    `json:"index"` // in the listing, from 0
	File    int    `json:"file"`  // of Run.Files
	Offset  int64  `json:"offset"`
	End     int64  `json:"end"` // from Offset to before here: bytes, or rows; pieces of a file follow each other without a gap
	Round   int    `json:"round,omitempty"`
	Rows    int64  `json:"rows"`              // that were read from it
	Skipped int64  `json:"skipped,omitempty"` // of them, as an earlier run has scored them
}

// Done says of a part what is in it. It stands in the footer of its scores, under partKey.
type Done struct {
	Piece
	Scored    int64            `json:"scored"`
	Rejected  int64            `json:"rejected"`
	Retryable int64            `json:"retryable,omitempty"` // of the rejects
	Rejects   string           `json:"rejects"`             // the name of their file
	Hash      string           `json:"hash"`                // of the scores with their kept columns, in their order: 128 bits in hexadecimal
	Brands    map[string]int64 `json:"brands,omitempty"`    // scores by brand
	Reasons   map[string]int64 `json:"reasons,omitempty"`   // rejects by "stage: reason"
}

// The metadata in footers: a Done of the scores, and of all what their name is made from beside the rows.
const (
	partKey    = "logobeam.part"
	modelKey   = "logobeam.model_hash"
	optionsKey = "logobeam.options"
)

const postColumn = "post_id"

func (d *Done) score(s Score) {
	d.Scored++
	d.Brands[s.Brand]++
}

func (d *Done) reject(r Reject) {
	d.Rejected++
	d.Reasons[r.Stage+": "+r.Reason]++
	if r.Retryable {
		d.Retryable++
	}
}

// The files of an output.
const (
	scoresDir    = "scores"
	rejectsDir   = "rejects"
	manifestFile = "manifest.json"
	successFile  = "_SUCCESS"
	runsFile     = "runs.jsonl"
	reportFile   = "report.html"
)

func scoresFile(chunk string) string { return scoresDir + "/part-" + chunk + ".parquet" }

func (d Done) rejectsFile() string { return rejectsDir + "/" + d.Rejects }

// base is the chunk's name in its first round.
func (p Piece) base() string {
	base, _, _ := strings.Cut(p.Chunk, "-r")
	return base
}
