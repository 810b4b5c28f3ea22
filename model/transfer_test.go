package model

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestTransfer(t *testing.T) {
	classes := []string{"adidas", "no-logo"}
	params, err := Init(MLP(2), 1)
	if err != nil {
		t.Fatal(err)
	}
	from := &Model{Card: Card{Classes: classes}, Network: MLP(2), Params: params}
	name := from.Network.Layers[from.Network.Head()].Name + ".weight"
	body := from.Network.Layers[0].Name + ".weight"
	for _, tt := range []struct {
		why     string
		net     Network
		classes []string
		fresh   bool
		fails   string
	}{
		{"the same classes go on where the model is", MLP(2), classes, false, ""},
		{"other classes need another head, be they as many", MLP(2), []string{"bmw", "no-logo"}, true, ""},
		{"more classes need a larger head", MLP(3), []string{"adidas", "bmw", "no-logo"}, true, ""},
		{"another architecture has other parameters", ArticleCNN(2), classes, false, "same architecture"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			p, fresh, err := Transfer(tt.net, tt.classes, from, 2)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Fatalf("error %v, want one that says %q", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.net.Check(p); err != nil {
				t.Fatal(err)
			}
			if got := slices.Contains(fresh, name); got != tt.fresh || slices.Equal(p[name], params[name]) == tt.fresh {
				t.Errorf("head drawn anew: %v (fresh %v), want %v", got, fresh, tt.fresh)
			}
			if !slices.Equal(p[body], params[body]) {
				t.Error("the body was not taken over")
			}
			p[body][0]++
			if p[body][0] == params[body][0] {
				t.Error("training would write into the model it began with")
			}
		})
	}
}

func TestWithClasses(t *testing.T) {
	for _, arch := range Architectures() {
		n, err := New(arch, 7)
		if err != nil {
			t.Fatal(err)
		}
		got, err := n.WithClasses(3)
		if err != nil {
			t.Fatal(err)
		}
		want, err := New(arch, 3)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) || n.Classes() != 7 {
			t.Errorf("%s for 3 classes is %+v, and has %d where it was 7", arch, got, n.Classes())
		}
	}
	pixels := Network{Arch: "x", Input: Shape{4, 4, 3}, Layers: []Layer{{Name: "a", Op: Conv, Out: 2, Kernel: 1}}} // 32 logits
	if _, err := pixels.WithClasses(5); err == nil || !strings.Contains(err.Error(), "gives 80 values where layer a has 5 outputs") {
		t.Error(err)
	}
	pools := Network{Arch: "x", Input: Shape{4, 4, 3}, Layers: []Layer{{Name: "a", Op: GlobalAvgPool}}}
	if _, err := pools.WithClasses(5); err == nil || !strings.Contains(err.Error(), "no last layer") {
		t.Error(err)
	}
}
