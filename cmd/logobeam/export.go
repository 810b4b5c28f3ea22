package main

import (
	"fmt"
	"io"
	"os"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model/onnx"
	"github.com/logobeam/logobeam/pipelines/classifier"
)

func newExport() *cobra.Command {
	var dir, out string
	cmd := &cobra.Command{
		Use:   "export --onnx FILE",
		Short: "write a model as an ONNX file, for other programs",
		Long: `export writes a model's network as an ONNX file (opset 17) that takes batches of
any size: image, float32 [batch][3][height][width], to probabilities, float32
[batch][classes]. The file's properties say how a photograph becomes the input
(transforms, mean, std), what the classes are, and which model it was. Weights are
float32; what is there for int8 stays behind, and the output is of one view.

logobeam import reads the file again.`,
		Example: `  logobeam export --onnx my-model.onnx --model my-model`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("--onnx is missing: name the file to write")
			}
			m, err := classifier.Read(cmd.Context(), dir)
			if err != nil {
				return err
			}
			if err := replace(out, func(w io.Writer) error { return onnx.Export(w, m) }); err != nil {
				return err
			}
			info, err := os.Stat(out)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %s [batch][%d][%d][%d] to %s [batch][%d], %s\n", out, m.Network.Arch, onnx.Input,
				m.Network.Input.C, m.Network.Input.H, m.Network.Input.W, onnx.Output, m.Network.Classes(), humanize.IBytes(uint64(info.Size())))
			return err
		},
	}
	modelFlag(cmd, &dir)
	cmd.Flags().StringVar(&out, "onnx", "", "`file` to write; one that is there is replaced")
	return cmd
}
