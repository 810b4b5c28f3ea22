package transforms

import (
	"fmt"
	"strings"
)

// Reason says in one word why bytes did not become a picture. The set is closed: Reasons lists it.
type Reason string

// The reasons. Explain says each in a sentence.
const (
	ReasonEmpty              Reason = "empty"
	ReasonTooManyBytes       Reason = "too-many-bytes"
	ReasonNotAnImage         Reason = "not-an-image"
	ReasonHTML               Reason = "html-page"
	ReasonSVG                Reason = "svg"
	ReasonPDF                Reason = "pdf"
	ReasonVideo              Reason = "video"
	ReasonAVIF               Reason = "avif"
	ReasonHEIC               Reason = "heic"
	ReasonUnsupportedFormat  Reason = "unsupported-format"
	ReasonUnsupportedFeature Reason = "unsupported-feature"
	ReasonZeroSize           Reason = "zero-size"
	ReasonTooManyPixels      Reason = "too-many-pixels"
	ReasonTooMuchMemory      Reason = "too-much-memory"
	ReasonImplausible        Reason = "implausible-size"
	ReasonTruncated          Reason = "truncated"
	ReasonCorrupt            Reason = "corrupt"
	ReasonDecodeTimeout      Reason = "decode-timeout"
	ReasonDecoderPanic       Reason = "decoder-panic"
)

var explanations = []struct {
	reason Reason
	text   string
}{
	{ReasonEmpty, "the file has no bytes"},
	{ReasonTooManyBytes, "the file is larger than the limit on bytes"},
	{ReasonNotAnImage, "the bytes are not those of any image format known here"},
	{ReasonHTML, "a web page, often an error page, stands where the image should be"},
	{ReasonSVG, "an SVG drawing, which is not supported: convert it to PNG"},
	{ReasonPDF, "a PDF document, which is not supported: convert its page to JPEG or PNG"},
	{ReasonVideo, "a video, which is not supported: take a frame of it"},
	{ReasonAVIF, "an AVIF image, which is not supported: convert it to JPEG, PNG or WebP"},
	{ReasonHEIC, "a HEIC image, which is not supported: convert it to JPEG, PNG or WebP"},
	{ReasonUnsupportedFormat, "an image format that is recognised but not supported: the detail names it"},
	{ReasonUnsupportedFeature, "a supported format with a feature that its decoder lacks: the detail names it"},
	{ReasonZeroSize, "the header gives a width or a height of zero"},
	{ReasonTooManyPixels, "the header claims more pixels than the limit"},
	{ReasonTooMuchMemory, "decoding would take more memory than the limit"},
	{ReasonImplausible, "the header claims more than so few bytes can hold: cut off early, or made to do harm"},
	{ReasonTruncated, "the file ends before the picture does"},
	{ReasonCorrupt, "the file breaks its format's rules"},
	{ReasonDecodeTimeout, "decoding takes longer than the limit; on a machine with less to do it may not"},
	{ReasonDecoderPanic, "the decoder failed in a way it should not: please report the file"},
}

// Reasons returns every reason there is, in the order in which the checks are made.
func Reasons() []Reason {
	all := make([]Reason, len(explanations))
	for i, e := range explanations {
		all[i] = e.reason
	}
	return all
}

// Explain says a reason in one sentence for people, and "" for what is not a reason.
func Explain(r Reason) string {
	for _, e := range explanations {
		if e.reason == r {
			return e.text
		}
	}
	return ""
}

// Temporary says whether another try may succeed: for time alone, which is not the file's fault for certain.
func (r Reason) Temporary() bool { return r == ReasonDecodeTimeout }

// Error is why bytes did not become a picture.
type Error struct {
	Reason Reason
	Detail string // about this file; may be empty
	Err    error  // of the decoder; may be nil
}

// Error gives the reason and what is known beside it in one line.
func (e *Error) Error() string {
	s := string(e.Reason)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Explain is what is known of the fault beside its reason, or the reason in a sentence.
func (e *Error) Explain() string {
	if e.Detail == "" && e.Err == nil {
		return Explain(e.Reason)
	}
	return strings.TrimPrefix(e.Error(), string(e.Reason)+": ")
}

// Unwrap returns the decoder's error.
func (e *Error) Unwrap() error { return e.Err }

// Temporary is that of the reason.
func (e *Error) Temporary() bool { return e.Reason.Temporary() }

func reject(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, args...)}
}
