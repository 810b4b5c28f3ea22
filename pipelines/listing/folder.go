package listing

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/logobeam/logobeam/pipelines/store"
)

// imageEndings are those of the names of images, of formats that cannot be decoded, too: they get a row that says so.
var imageEndings = []string{".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic"}

func (p *planner) folder(ctx context.Context, c Chunk) error {
	if len(c.Source) > 1 {
		c.Source = strings.TrimSuffix(c.Source, "/")
	}
	hint := store.Join(c.Source, "*.csv")
	if c.Format != ByExtension {
		return fmt.Errorf("the listing %s is a folder: name a file, or a pattern such as %s; without --format it is a folder of images", c.Source, hint)
	}
	if len(c.Keep) > 0 {
		return fmt.Errorf("%s is a folder of images without columns: there is no %q to keep", c.Source, c.Keep[0])
	}
	listed.forget(c.Source)
	names, err := listed.images(ctx, c.Source)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("the listing %s is a folder without images: name a file, or a pattern such as %s", c.Source, hint)
	}
	c.Format = folder
	return p.read(ctx, c, opened{&folderReader{names: names}, nil})
}

// folderReader yields the names of a folder's images.
type folderReader struct {
	names []string
	at    int64
	value [1][]byte
}

func (f *folderReader) position() (offset, line int64) { return f.at, f.at + 1 }

func (f *folderReader) seek(offset, _, _ int64) error {
	f.at = offset
	return nil
}

func (f *folderReader) close() {}

func (f *folderReader) next() (record, error) {
	if f.at >= int64(len(f.names)) {
		return record{}, io.EOF
	}
	f.value[0] = []byte(f.names[f.at])
	r := record{offset: f.at, line: f.at + 1, values: f.value[:]}
	if !utf8.Valid(f.value[0]) {
		r.bad = "the file's name is not in UTF-8: rename it"
	}
	f.at++
	return r, nil
}

// listed remembers the images of the folders that were listed last, since every chunk of one needs them.
var listed folders

const listedMost = 2

type folders struct {
	sync.Mutex
	last []*listedFolder // the latest last
}

// listedFolder is listed once, by whoever comes first.
type listedFolder struct {
	folder string
	sync.Mutex
	names []string
}

func (l *folders) forget(folder string) {
	l.Lock()
	defer l.Unlock()
	l.last = slices.DeleteFunc(l.last, func(f *listedFolder) bool { return f.folder == folder })
}

// images gives the names of all images below a folder, relative to it, sorted. Hidden files and folders are passed over.
func (l *folders) images(ctx context.Context, folder string) ([]string, error) {
	l.Lock()
	var f *listedFolder
	if i := slices.IndexFunc(l.last, func(f *listedFolder) bool { return f.folder == folder }); i >= 0 {
		f = l.last[i]
		l.last = slices.Delete(l.last, i, i+1)
	} else {
		f = &listedFolder{folder: folder}
	}
	if len(l.last) == listedMost {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.last = append(l.last, f)
	l.Unlock()

	f.Lock()
	defer f.Unlock()
	if f.names == nil {
		s, err := store.At(ctx, folder)
		if err != nil {
			return nil, err
		}
		files, err := s.List(ctx, ".")
		if err != nil {
			return nil, fmt.Errorf("the folder %s cannot be listed: %w", folder, err)
		}
		f.names = []string{}
		for _, file := range files {
			if isImage(file.Name) {
				f.names = append(f.names, file.Name)
			}
		}
	}
	return f.names, nil
}

func isImage(name string) bool {
	hidden := strings.HasPrefix(name, ".") || strings.Contains(name, "/.")
	return !hidden && slices.Contains(imageEndings, strings.ToLower(path.Ext(name)))
}
