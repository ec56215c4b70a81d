"""What the sample class gets for its submissions of `heads`."""

from __future__ import annotations

# Points of every student, task by task, and their sum
POINTS = """
                      1  2  3  4  5  6  7  8  9 10 11   sum
most                  1  2  3  2  1  3  2  4  3  2  1    24

complete              1  2  3  2  1  3  2  4  3  2  1    24
complete_other_style  1  2  3  2  1  3  2  4  3  2  1    24
blank                 0  0  0  0  0  0  0  0  0  0  0     0
half_done             1  2  3  2  0  0  0  0  0  0  0     8
view_split            1  2  3  2  1  0  2  4  3  2  1    21
wrong_scale           1  2  0  2  1  3  2  4  3  2  1    21
softmax_over_queries  1  2  0  2  1  3  2  4  3  2  1    21
no_w_o                1  2  3  2  1  3  2  0  3  2  1    20
biases_and_h          1  2  3  2  1  3  2  4  3  0  0    21
no_error              1  1  3  2  1  3  2  4  3  2  1    23
syntax_error          1  2  3  2  1  3  0  4  3  2  1    22
wrong_types           0  0  0  0  1  0  0  4  3  2  1    11
stands_alone          1  2  0  2  1  0  2  4  3  2  1    18
calls_a_wrong_one     1  2  3  2  1  0  2  0  3  2  1    17
slices                1  2  3  2  0  3  2  0  0  2  1    16
tampering             1  2  3  2  1  3  0  4  3  2  1    22
"""
TABLE = {
    name: [float(number) for number in numbers]
    for name, *numbers in (line.split() for line in POINTS.strip().split("\n")[1:] if line)
}
MOST = TABLE.pop("most")
