"""Statistics of one weight matrix, or of two, one module a block; pure functions, float64 inside.

`spectra` frequencies of the canonical matrix, and along places; `sizes` of rows and columns; `dimension` principal
components; `heavy_tail` power laws; `lipschitz` norms; `entropy` of values and of the spectrum; `distribution` of the
values; `clusters` of rows. A block's `measure...` functions return plain names -> numbers; what cannot be computed is
NaN. `products` of the two matrices of an attention bring their nulls with them.
"""
