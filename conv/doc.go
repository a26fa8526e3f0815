// Package conv computes 2-D convolutions (strictly, cross-correlations, as
// Caffe does) and their gradients.
//
// Arrays are row-major float32: activations N×C×H×W, or [Blocked] where an
// algorithm can, weights K×(C/Group)×R×S, biases K. The output pixel (oy, ox) of filter k is
//
//	y[n,k,oy,ox] = bias[k] + Σ w[k,c,r,s] · x[n, g·C/Group+c, oy·StrideH−PadH+r·DilationH, ox·StrideW−PadW+s·DilationW]
//
// over c, r, s, where g is the group of k and x is zero outside the image.
// NewPlanND takes any other number of spatial axes as well.
//
// # Plans
//
// A [Plan] is a shape and a choice of algorithms, made once. It is immutable
// and may be used from several goroutines; scratch memory is pooled, so that
// its methods do not allocate in steady state. The environment variable
// CREMA_CONV or Options.Algorithm forces an algorithm.
//
// A plan may include the ReLU that follows a convolution. Algorithms that work
// on blocked arrays apply it to the output while it is in registers, and mask the
// output gradient while they read it; the sums of the gradient of the biases are
// taken then, too.
//
// # Algorithms
//
// For each direction the first algorithm of an ordered list that accepts the
// shape is taken:
//
//   - 1x1: a filter of one pixel, stride 1 and no padding, is a matrix product
//     of the weights and the image as it lies.
//   - depthwise: as many groups as channels and filters. A channel goes through
//     the nearest cache in bands of rows, and all taps of a pixel are summed in
//     a register.
//   - direct: up to 4 input channels and at least 16 filters, as in the first
//     layer of a net: all taps of a tile of pixels and filters are summed in
//     registers, from a band of rows in the nearest cache. It writes NCHW or
//     blocked output; not for the gradient of the data.
//   - winograd: 3×3 filters moved by single pixels, by F(4×4,3×3) (Lavin and
//     Gray, 2016): tiles of 4×4 output pixels with a quarter of the
//     multiplications. Its error is about twice that of the other algorithms,
//     for the weights a little less. It is used from 16 channels and 16 filters of a group on, and
//     where tiles are not mostly empty. Blocked arrays save it a reorder of every
//     pixel: a pixel's 16 channels are what its transforms work on.
//   - blocked: any filters, on blocked arrays with whole groups of 16 channels
//     and filters: all taps of a tile of pixels and filters are summed in
//     registers, from the arrays where they lie.
//   - implicit: the matrix whose columns are the input windows of the output
//     pixels (im2col) is never stored: each worker packs some hundred columns
//     of it at a time, straight from the image, as panels for the micro-kernel.
//     Pixels of all images form one long row, so small images fill whole
//     tiles. The gradient of the data is the same with the roles of input and
//     output exchanged if the stride is 1.
//   - col2im: the gradient of the data for other strides: products of the
//     transposed weights and the output gradient, added to the image.
//
// With more than two spatial axes, there are 1x1, implicit and col2im.
//
// Im2col writes the matrix of the windows to memory, for those who want to see
// it; Col2im is its gradient.
//
// Few groups are computed one after the other, many each by one worker.
// [Plan.Balance] counts how evenly a number of workers share the work.
//
// Results depend on shape, operands, algorithm and instruction set only, not
// on the number of workers: tasks split outputs, and every sum has one order.
package conv
