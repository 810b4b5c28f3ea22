package device

import _ "embed"

// PTX are the kernels, for compute capability 8.0 and later: kernels.cu says what they are called, what they take and how they are
// launched.
//
//go:embed kernels.ptx
var PTX string
