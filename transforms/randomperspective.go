package transforms

import (
	"fmt"
	"math/rand/v2"
)

// RandomPerspective shows the picture as if from aside, with a Probability: each of its corners moves inwards, by a
// part of the width and one of the height drawn evenly from [0, Distortion/2], as torchvision's RandomPerspective with
// its distortion_scale. Its size stays; grey (128) comes in from beyond the edges. Pixels are interpolated bilinearly,
// together with those of a RandomRotation next to it. For scoring it does nothing.
type RandomPerspective struct {
	Distortion  float64 `json:"distortion"`
	Probability float64 `json:"probability"`
}

// Name is "random-perspective".
func (RandomPerspective) Name() string { return "random-perspective" }

// Validate wants a Distortion in (0, 0.6], as from 2/3 on corners could fold over, and a Probability in (0, 1].
func (s RandomPerspective) Validate() error {
	if !(0 < s.Distortion && s.Distortion <= 0.6) {
		return fmt.Errorf(`"distortion" is %v, want more than 0 and at most 0.6`, s.Distortion)
	}
	return checkProbability(s.Probability)
}

func (RandomPerspective) size(w, h int) (int, int) { return w, h }

func (s RandomPerspective) apply(v *view, r *rand.Rand) error { return v.project(s, r) }

func (s RandomPerspective) projection(w, h int, r *rand.Rand) projection {
	if !happens(r, s.Probability) {
		return still
	}
	var corners [4][2]float64
	for i, c := range [4][2]float64{{0, 0}, {1, 0}, {1, 1}, {0, 1}} {
		for k := range c {
			in := between(r, 0, s.Distortion/2)
			corners[i][k] = c[k] + float64(in*(1-2*c[k]))
		}
	}
	return toCorners(w, h, corners)
}

// toCorners moves the corners of a picture, clockwise from the upper left, to points given in shares of its width and
// height. It is the inverse of the projection of the unit square to four points by Heckbert (Fundamentals of Texture
// Mapping and Image Warping, 1989, section 2.2.3).
func toCorners(w, h int, c [4][2]float64) projection {
	cross := func(a, b, c, d float64) float64 { return float64(a*d) - float64(b*c) }
	// What the corners are off a parallelogram, and two of its sides.
	offX, offY := c[0][0]-c[1][0]+c[2][0]-c[3][0], c[0][1]-c[1][1]+c[2][1]-c[3][1]
	x1, y1 := c[1][0]-c[2][0], c[1][1]-c[2][1]
	x2, y2 := c[3][0]-c[2][0], c[3][1]-c[2][1]
	area := cross(x1, x2, y1, y2)
	g, k := cross(offX, x2, offY, y2)/area, cross(x1, offX, y1, offY)/area
	m := projection{
		{c[1][0] - c[0][0] + float64(g*c[1][0]), c[3][0] - c[0][0] + float64(k*c[3][0]), c[0][0]},
		{c[1][1] - c[0][1] + float64(g*c[1][1]), c[3][1] - c[0][1] + float64(k*c[3][1]), c[0][1]},
		{g, k, 1},
	}
	// The adjugate is the inverse but for a factor, which the division by the third number cancels.
	var inverse projection
	for i := range 3 {
		for j := range 3 {
			a, b := (j+1)%3, (j+2)%3
			c, d := (i+1)%3, (i+2)%3
			inverse[i][j] = cross(m[a][c], m[a][d], m[b][c], m[b][d])
		}
	}
	width, height := float64(w), float64(h)
	shares := projection{{1 / width, 0, 0}, {0, 1 / height, 0}, {0, 0, 1}}
	return projection{{width, 0, 0}, {0, height, 0}, {0, 0, 1}}.times(inverse).times(shares)
}
