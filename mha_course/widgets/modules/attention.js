// Multi-head attention on plain arrays, as mha_course.attention does it on tensors.
// A matrix is a list of rows. A test compares it with torch.

/** Product of two matrices: [n][m] times [m][p]. */
export function product(a, b) {
  return a.map((row) => b[0].map((_, j) => row.reduce((sum, x, k) => sum + x * b[k][j], 0)));
}

/** Softmax of one row; a row of nothing but -Infinity has no weights: NaN, as in torch. */
export function softmax(row) {
  const largest = Math.max(...row);
  const powers = row.map((x) => Math.exp(x - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((x) => x / sum);
}

/** Columns of head i of h: a matrix [T][d_model] becomes [T][d_model / h]. */
export function columnsOfHead(matrix, head, heads) {
  const width = matrix[0].length / heads;
  return matrix.map((row) => row.slice(head * width, (head + 1) * width));
}

/**
 * Attention weights of one head: softmax(q kᵀ / √d_head) row by row.
 * `mask[t][s]` is true where query t may attend to key s; null for everywhere.
 */
export function attentionWeights(q, k, mask = null, temperature = 1) {
  const scale = 1 / (Math.sqrt(q[0].length) * temperature);
  return q.map((query, t) =>
    softmax(
      k.map((key, s) =>
        mask && !mask[t][s] ? -Infinity : scale * query.reduce((sum, x, i) => sum + x * key[i], 0),
      ),
    ),
  );
}

/** The mask that lets a token attend to itself and to what came before. */
export function causalMask(length) {
  return Array.from({ length }, (_, t) => Array.from({ length }, (_, s) => s <= t));
}

/**
 * Multi-head self-attention of x [T][d_model] with matrices W_Q, W_K, W_V, W_O [d_model][d_model].
 * Returns the weights of each head [h][T][T], what the heads put side by side [T][d_model], and the
 * output [T][d_model].
 */
export function multiHead(x, { W_Q, W_K, W_V, W_O }, heads, mask = null, temperature = 1) {
  const [q, k, v] = [W_Q, W_K, W_V].map((matrix) => product(x, matrix));
  const weights = [];
  const merged = x.map(() => []);
  for (let head = 0; head < heads; head += 1) {
    const [qh, kh, vh] = [q, k, v].map((matrix) => columnsOfHead(matrix, head, heads));
    const mine = attentionWeights(qh, kh, mask, temperature);
    product(mine, vh).forEach((row, t) => merged[t].push(...row));
    weights.push(mine);
  }
  return { weights, merged, output: product(merged, W_O) };
}
