// SPDX-License-Identifier: GPL-2.0-only
// Numbers side by side, and products of matrices with a constant one.

#ifndef KERNPOT_VECTORS_H
#define KERNPOT_VECTORS_H

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

namespace kernpot {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
constexpr int ROWS = 8;
#elif defined(__AVX__)
constexpr int BYTES = 32;
constexpr int ROWS = 4;
#else
constexpr int BYTES = 16;
constexpr int ROWS = 4;
#endif

template <typename R> struct Vector {
  typedef R type __attribute__((vector_size(BYTES), may_alias));
  static constexpr int width = BYTES / sizeof(R);
};

template <typename T> struct Aligned {
  using value_type = T;
  Aligned() = default;
  template <typename U> Aligned(const Aligned<U> &) {}
  T *allocate(size_t n)
  {
    void *found = nullptr;
    if (posix_memalign(&found, 64, n * sizeof(T) + 64)) throw std::bad_alloc();
    return (T *) found;
  }
  void deallocate(T *p, size_t) { free(p); }
  template <typename U> bool operator==(const Aligned<U> &) const { return true; }
  template <typename U> bool operator!=(const Aligned<U> &) const { return false; }
};
template <typename T> using Buffer = std::vector<T, Aligned<T>>;

inline int up(int n, int width) { return (n + width - 1) / width * width; }

// A constant matrix (n_in, n_out) that rows are multiplied by, kept in panels of columns.
template <typename R> class Matrix {
  using V = typename Vector<R>::type;
  static constexpr int W = Vector<R>::width;
  static constexpr int PANEL = 2 * W;

 public:
  int n_in = 0, n_out = 0;

  Matrix() = default;
  // From values with the strides given.
  template <typename T> Matrix(const T *values, int in, int out, size_t by_row, size_t by_column) : n_in(in), n_out(out)
  {
    panels_.assign((size_t) up(out, PANEL) * in, R(0));
    for (int b = 0; b < out; b++)
      for (int a = 0; a < in; a++)
        panels_[(size_t) (b / PANEL) * in * PANEL + (size_t) a * PANEL + b % PANEL] =
            (R) values[a * by_row + b * by_column];
  }

  // Columns of a row of results, padded.
  int padded() const { return up(n_out, PANEL); }

  // results (n_rows, padded()) = rows (n_rows, stride) times the matrix.
  void product(const R *rows, int stride, int n_rows, R *results) const
  {
    const int n_padded = padded();
    for (int first = 0; first < n_padded; first += PANEL) {
      const R *panel = panels_.data() + (size_t) first * n_in;
      int row = 0;
      for (; row + ROWS <= n_rows; row += ROWS)
        tile<ROWS>(rows + (size_t) row * stride, stride, panel, results + (size_t) row * n_padded + first, n_padded);
      for (; row < n_rows; row++)
        tile<1>(rows + (size_t) row * stride, stride, panel, results + (size_t) row * n_padded + first, n_padded);
    }
  }

 private:
  Buffer<R> panels_;

  template <int N> void tile(const R *rows, int stride, const R *panel, R *results, int n_padded) const
  {
    V low[N], high[N];
    for (int r = 0; r < N; r++) low[r] = high[r] = V{};
    for (int a = 0; a < n_in; a++) {
      const V first = *(const V *) (panel + (size_t) a * PANEL), second = *(const V *) (panel + (size_t) a * PANEL + W);
      for (int r = 0; r < N; r++) {
        const R x = rows[(size_t) r * stride + a];
        low[r] += x * first;
        high[r] += x * second;
      }
    }
    for (int r = 0; r < N; r++) {
      *(V *) (results + (size_t) r * n_padded) = low[r];
      *(V *) (results + (size_t) r * n_padded + W) = high[r];
    }
  }
};

}    // namespace kernpot

#endif
