"""Dense: linear algebra on stacks of matrices of one shape, by PyTorch, on any device.

Here: Gram matrices and singular values, cosine transforms, the order of rows and columns, k-means, and how many
matrices are in a stack. On a CPU it runs too, and the tests hold it against numpy there. Nothing is read back but by
`read`, once a stack; what else makes the host wait is said where it is.
Not here: what a statistic is (`analyse`), nulls (they are drawn on the CPU), and what mining on a CPU uses: numpy.
"""
