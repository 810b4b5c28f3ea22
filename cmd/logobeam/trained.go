package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/logobeam/logobeam/model/metrics"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/report"
	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/transforms"
)

// The page on a model that train and evaluate write.

// report measures the model that was kept on validation once more, and writes MODEL/report.html, or only warns: the model is
// there without it.
func (o *trainFlags) report(ctx context.Context, stderr io.Writer, dir string, history []train.Epoch) {
	err := func() error {
		c, err := classifier.Load(ctx, o.out, classifier.Config{})
		if err != nil {
			return err
		}
		ev, data, err := evaluate(ctx, stderr, c, filepath.Join(dir, "val.csv"), o.limits)
		if err != nil {
			return err
		}
		page, err := trainedPage(c, ev, data, o.out, "validation", history)
		if err != nil {
			return err
		}
		s, err := store.At(ctx, o.out)
		if err != nil {
			return err
		}
		return s.Put(ctx, "report.html", page)
	}()
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "logobeam: warning: the model is finished, but its report could not be written: %s\n", oneLine(err))
	default:
		fmt.Fprintf(stderr, "%s/report.html shows how it was trained and what it takes for what\n", o.out)
	}
}

// trainedPage is the page on a model with what it does on a split. history may be empty.
func trainedPage(c *classifier.Classifier, ev *evaluation, data *corpus.Dataset, place, split string, history []train.Epoch) ([]byte, error) {
	const most = 60
	wrong := ev.wrong()
	mistakes, err := ev.pictures(data, wrong[:min(len(wrong), most)])
	if err != nil {
		return nil, err
	}
	card := c.Model.Card
	page := report.Trained{Place: place, Program: "logobeam " + version(), Split: split, Facts: cardFacts(c), Confusion: ev.Confusion, Answers: ev.answers,
		ECE: ev.ECE, ChanceECE: ev.ChanceECE, Intervals: ev.Intervals, Calibration: card.Calibration, Mistakes: mistakes, AllMistakes: len(wrong)}
	if t := card.Training; t != nil {
		page.Command = commandLine(t.Arguments)
	}
	for _, e := range history {
		page.Epochs = append(page.Epochs, report.EpochPoint{Point: report.Point{Epoch: e.Epoch, MacroF1: float64(e.Validation.MacroF1), Loss: e.Loss},
			Accuracy: e.Validation.Accuracy, TrainAccuracy: e.TrainAccuracy, LogoRecall: e.Validation.LogoRecall, Seconds: e.Seconds, Best: e.Best})
	}
	return page.HTML()
}

// cardFacts are what the model's card says of it and its making.
func cardFacts(c *classifier.Classifier) []report.Fact {
	m := c.Model
	facts := []report.Fact{{Name: "Architecture", Value: fmt.Sprintf("%s, input %d x %d", m.Network.Arch, m.Network.Input.W, m.Network.Input.H)},
		{Name: "Measured in", Value: fmt.Sprintf("%s, %s", c.Config.Precision, count(int64(len(c.Views)), "view"))}}
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, report.Fact{Name: name, Value: value})
		}
	}
	add("Description", m.Card.Description)
	if t := m.Card.Training; t != nil {
		var images []string
		for _, split := range slices.SortedFunc(maps.Keys(t.Images), func(a, b string) int {
			order := []string{"train", "validation", "test"}
			return cmp.Compare(slices.Index(order, a), slices.Index(order, b))
		}) {
			images = append(images, fmt.Sprintf("%d %s", t.Images[split], split))
		}
		add("Photographs", strings.Join(images, ", "))
		add("Kept", fmt.Sprintf("epoch %d of %d", t.Epoch, t.Epochs))
		add("Began with", t.Init)
		add("Seed", fmt.Sprint(t.Seed))
	}
	for _, s := range m.Card.Sources {
		add("Source", s)
	}
	add("Weights", fmt.Sprintf("%s, sha256 %.16s", m.Card.Precision, m.Card.Weights))
	add("Program", m.Card.Program)
	return facts
}

// plain is an argument that a shell takes as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// commandLine is a command as it can be given to a shell again.
func commandLine(arguments []string) string {
	line := "logobeam"
	for _, a := range arguments {
		if !plain.MatchString(a) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		line += " " + a
	}
	return line
}

// estimate adds what is known of the figures' uncertainty.
func (e *evaluation) estimate(c *classifier.Classifier) {
	e.ChanceECE = metrics.Figure(metrics.ChanceECE(e.answers, metrics.ECEBins, bootstrapSeed))
	e.Intervals = metrics.Intervals(c.Classes(), e.answers, metrics.ECEBins, bootstrapSeed)
}

// wrong are the images with wrong answers, those of the highest probability first.
func (e *evaluation) wrong() (list []int) {
	for i, a := range e.answers {
		if a.Class != a.Truth {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(i, j int) int { return cmp.Compare(e.answers[j].Probability, e.answers[i].Probability) })
	return list
}

// pictureSide is the shorter side of a mistake as it is drawn.
const pictureSide = 160

// pictures are images with what was true and what was answered.
func (e *evaluation) pictures(data *corpus.Dataset, list []int) ([]report.Photograph, error) {
	whole := transforms.List{transforms.Orient{}, transforms.Resize{Short: pictureSide}}
	var shown []report.Photograph
	for _, i := range list {
		picture, err := data.Picture(i, whole)
		if err != nil {
			return nil, err
		}
		a := e.answers[i]
		shown = append(shown, report.Photograph{Picture: picture, Lines: []string{data.Classes()[a.Truth], fmt.Sprintf("-> %s %.2f", data.Classes()[a.Class], a.Probability)}})
	}
	return shown, nil
}
