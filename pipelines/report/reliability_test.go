package report

import (
	"image"
	"testing"

	"golang.org/x/image/draw"

	"github.com/logobeam/logobeam/model/metrics"
)

func TestReliabilityDiagram(t *testing.T) {
	var answers []metrics.Answer
	for i := range 200 { // too sure: right as often as the square of the probability says
		p := 0.3 + 0.7*float32(i)/200
		answers = append(answers, metrics.Answer{Class: i % 2 * int(2*(1-p*p)+0.5), Probability: p})
	}
	m, err := ReliabilityDiagram(metrics.Reliability(answers, 15))
	if err != nil {
		t.Fatal(err)
	}
	drawn := image.NewRGBA(m.Bounds())
	draw.Draw(drawn, drawn.Rect, m, m.Bounds().Min, draw.Src)
	samePicture(t, "reliability.png", drawn)
	if _, err := ReliabilityDiagram(nil); err == nil {
		t.Error("no bins make a diagram")
	}
}
