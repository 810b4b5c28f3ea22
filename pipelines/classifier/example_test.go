package classifier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/transforms"
)

// brands answers a photograph with what it shows.
func brands(c *classifier.Classifier) http.HandlerFunc {
	limits := transforms.DefaultLimits()
	return func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limits.Bytes))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		probs, err := c.Classify(data, limits)
		var bad *transforms.Error
		if errors.As(err, &bad) {
			http.Error(w, transforms.Explain(bad.Reason), http.StatusUnprocessableEntity)
			return
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		class, probability := c.Answer(probs)
		json.NewEncoder(w).Encode(map[string]any{"brand": c.Classes()[class], "sure": probability > 0.5})
	}
}

// A handler that classifies what is posted to it. Requests share the model.
func ExampleClassifier_Classify() {
	c, err := classifier.Load(context.Background(), "", classifier.Config{}) // the built-in model
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(brands(c))
	defer server.Close()

	photograph, err := os.ReadFile("../../testdata/classes/jpg/bmw/1255746627.jpg")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range [][]byte{photograph, []byte("<html>404</html>")} {
		r, err := http.Post(server.URL, "application/octet-stream", bytes.NewReader(body))
		if err != nil {
			fmt.Println(err)
			return
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		fmt.Print(r.StatusCode, " ", string(text))
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 200 {"brand":"bmw","sure":true}
	// 422 a web page, often an error page, stands where the image should be
}
