package transforms

import (
	"bytes"
	"compress/gzip"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
)

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSniffRejects names what servers and people send in place of a photograph.
func TestSniffRejects(t *testing.T) {
	brands := func(brands string) string { // the first box of a file of ISO base media
		return string([]byte{0, 0, 0, byte(12 + len(brands))}) + "ftyp" + brands[:4] + "\x00\x00\x00\x00" + brands[4:]
	}
	packets := func(size, first int) string {
		b := bytes.Repeat([]byte{0xff}, 5*size)
		for i := first; i < len(b); i += size {
			b[i] = 0x47
		}
		return string(b)
	}
	wide := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune("<!DOCTYPE html><html lang=\"de\"><p>nicht gefunden</p></html>")) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	const drawing = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"/>`
	for _, test := range []struct {
		name, data string
		reason     Reason
		detail     string
	}{
		{"text", "not found\n", ReasonNotAnImage, `text: "not found"`},
		{"text that starts as BMP does", "BMW makes cars, and some of them are quick", ReasonNotAnImage, "text: \"BMW"},
		{"text of two-byte letters", strings.Repeat("ä", 3000), ReasonNotAnImage, "text: \"ä"},
		{"long text", strings.Repeat("word ", 3000), ReasonNotAnImage, `word ..."`},
		{"spaces", " \r\n\t", ReasonNotAnImage, "nothing but spaces"},
		{"zeros", strings.Repeat("\x00", 500), ReasonNotAnImage, "unknown bytes, which begin with 00 00 00 00 00 00 00 00"},
		{"two bytes", "\x80\x81", ReasonNotAnImage, "unknown bytes, which begin with 80 81"},
		{"what follows a mark is no text", "\xff\xfe\x00\xd8\x01\x02\x03", ReasonNotAnImage, "unknown bytes"},
		{"answer of an interface", ` {"error": {"code": 403,` + "\n" + `"message": "<html> not allowed"}}`, ReasonNotAnImage, `JSON: "{\"error\": {\"code\": 403,`},
		{"list of answers", `["gone"]`, ReasonNotAnImage, "JSON"},
		{"a store's error", `<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error><Code>AccessDenied</Code></Error>", ReasonNotAnImage, "XML: <Error>"},
		{"XML without an element", `<?xml version="1.0"?>`, ReasonNotAnImage, "XML"},
		{"data URL", "data:image/png;base64,iVBORw0KGgo=", ReasonNotAnImage, "a data URL"},
		{"pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", ReasonNotAnImage, "git lfs pull"},
		{"error page", "\xef\xbb\xbf\n<!DOCTYPE HTML><html><body>404", ReasonHTML, ""},
		{"page without a doctype", "<BODY bgcolor=white>gone</BODY>", ReasonHTML, ""},
		{"page with a drawing in it", "<html><svg></svg></html>", ReasonHTML, ""},
		{"page in UTF-16", string(wide), ReasonHTML, ""},
		{"page in Latin-1", "<html><title>Seite f\xfcr nichts</title></html>", ReasonHTML, ""},
		{"page, compressed twice", string(gzipped(t, "<html>404</html>")), ReasonHTML, "gzip"},
		{"not a page", "<header>text</header>", ReasonNotAnImage, "text"},
		{"drawing", `<?xml version="1.0"?><!-- a -->` + drawing, ReasonSVG, ""},
		{"drawing after a long comment", "<!-- " + strings.Repeat("made by hand ", 200) + "-->" + drawing, ReasonSVG, ""},
		{"drawing with a prefix", `<svg:svg xmlns:svg="http://www.w3.org/2000/svg"/>`, ReasonSVG, ""},
		{"drawing with a page in it", `<svg><foreignObject><body>text</body></foreignObject></svg>`, ReasonSVG, ""},
		{"compressed drawing", string(gzipped(t, drawing)), ReasonSVG, "gzip"},
		{"compressed drawing, cut off", string(gzipped(t, drawing+strings.Repeat("<path d=\"M0 1\"/>", 900))[:90]), ReasonSVG, "gzip"},
		{"compressed text", string(gzipped(t, "text")), ReasonNotAnImage, "gzip data"},
		{"beginning of compressed data", "\x1f\x8b\x08", ReasonNotAnImage, "gzip data"},
		{"document", "%PDF-1.7 ...", ReasonPDF, ""},

		{"AVIF", brands("avifmif1miaf"), ReasonAVIF, ""},
		{"AVIF by a compatible brand", brands("mif1mif1avif"), ReasonAVIF, ""},
		{"AVIF sequence", brands("avismsf1"), ReasonAVIF, ""},
		{"HEIC", brands("heicmif1heic"), ReasonHEIC, ""},
		{"HEIF of any codec", brands("mif1miaf"), ReasonHEIC, ""},
		{"HEIC sequence", brands("hevcmsf1"), ReasonHEIC, ""},
		{"MP4", brands("isomisommp42"), ReasonVideo, "MP4"},
		{"MP4 for players of Apple", brands("M4V M4V mp42"), ReasonVideo, "MP4"},
		{"MP4 in pieces", brands("iso5dash"), ReasonVideo, "MP4"},
		{"MP4, cut in the brand", "\x00\x00\x00\x18ftypis", ReasonVideo, "MP4"},
		{"telephone's video", brands("3gp43gp4"), ReasonVideo, "3GPP"},
		{"QuickTime", brands("qt  qt  "), ReasonVideo, "QuickTime"},
		{"QuickTime of before brands", "\x00\x00\x00\x08wide\x00\x01\x02\x03mdat", ReasonVideo, "QuickTime"},
		{"sound of Apple", brands("M4A M4A mp42"), ReasonNotAnImage, "sound"},
		{"camera raw in boxes", brands("crx crx isom"), ReasonUnsupportedFormat, "camera raw (Canon)"},
		{"WebM", "\x1a\x45\xdf\xa3\x9f\x42\x86\x81", ReasonVideo, "WebM"},
		{"AVI", "RIFF\x10\x00\x00\x00AVI LIST", ReasonVideo, "AVI"},
		{"Ogg", "OggS\x00\x02", ReasonVideo, "Ogg"},
		{"Flash video", "FLV\x01\x05", ReasonVideo, "Flash"},
		{"MPEG", "\x00\x00\x01\xba\x44", ReasonVideo, "MPEG"},
		{"Windows Media", "\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", ReasonVideo, "Windows Media"},
		{"transport stream", packets(188, 0), ReasonVideo, "MPEG transport stream"},
		{"transport stream of a disc", packets(192, 4), ReasonVideo, "MPEG transport stream"},

		{"JPEG XL", "\xff\x0a\x00\x00", ReasonUnsupportedFormat, "JPEG XL"},
		{"JPEG XL in boxes", "\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a", ReasonUnsupportedFormat, "JPEG XL"},
		{"JPEG 2000", "\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a", ReasonUnsupportedFormat, "JPEG 2000"},
		{"JPEG 2000 without boxes", "\xff\x4f\xff\x51\x00", ReasonUnsupportedFormat, "JPEG 2000"},
		{"JPEG XR", "II\xbc\x01", ReasonUnsupportedFormat, "JPEG XR"},
		{"BigTIFF", "II+\x00\x08\x00", ReasonUnsupportedFormat, "BigTIFF"},
		{"icon", "\x00\x00\x01\x00\x01\x00", ReasonUnsupportedFormat, "Windows icon"},
		{"cursor", "\x00\x00\x02\x00\x01\x00", ReasonUnsupportedFormat, "Windows cursor"},
		{"Photoshop", "8BPS\x00\x01", ReasonUnsupportedFormat, "Photoshop"},
		{"PostScript", "%!PS-Adobe-3.0 EPSF-3.0", ReasonUnsupportedFormat, "PostScript"},
		{"anymap", "P6\n3 2\n255\n", ReasonUnsupportedFormat, "portable anymap"},
		{"metafile", "\x01\x00\x00\x00" + strings.Repeat("\x00", 36) + " EMF", ReasonUnsupportedFormat, "Windows metafile"},
		{"archive", "PK\x03\x04", ReasonNotAnImage, "zip archive"},
		{"sound", "ID3\x03", ReasonNotAnImage, "sound"},
		{"sound of waves", "RIFF\x24\x00\x00\x00WAVEfmt ", ReasonNotAnImage, "sound"},
		{"no form that is known", "RIFF\x24\x00\x00\x00\x81\x82\x83\x84", ReasonNotAnImage, "unknown bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Inspect([]byte(test.data), DefaultLimits())
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want reason %s", err, test.reason)
			}
			if e.Reason != test.reason || !strings.Contains(e.Detail, test.detail) || strings.ContainsAny(e.Detail, "\n\x00") {
				t.Errorf("error %q, want reason %s and %q", e, test.reason, test.detail)
			}
		})
	}
}

func FuzzSniff(f *testing.F) {
	for _, m := range magics {
		f.Add([]byte(strings.Repeat("\x00", m.at) + m.bytes))
	}
	f.Add(gzipped(f, "<svg></svg>"))
	f.Add([]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"))
	f.Add([]byte("\xfe\xff\x00<\x00s\x00v\x00g\x00>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		format, err := sniff(data)
		if err == nil {
			if format == "" {
				t.Fatal("neither a format nor an error")
			}
			return
		}
		var e *Error
		if !errors.As(err, &e) || Explain(e.Reason) == "" || len(e.Detail) > 400 {
			t.Fatalf("%v is not a short *Error with a known reason", err)
		}
	})
}
