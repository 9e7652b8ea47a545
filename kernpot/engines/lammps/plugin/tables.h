// SPDX-License-Identifier: GPL-2.0-only
// Named arrays of numbers, as `kernpot export --lammps` writes them.

#ifndef KERNPOT_TABLES_H
#define KERNPOT_TABLES_H

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace kernpot {

struct Array {
  std::vector<size_t> shape;
  bool whole = false;              // of kind i8
  std::vector<double> real;        // of kinds f8 and f4
  std::vector<int64_t> integer;    // of kind i8
};

// What a file holds: a line of text for every array, `name kind n1 n2 ...`, with its numbers in little-endian order
// after it, and a last line `end` with how many arrays there were. A file that was cut short is noticed.
class Tables {
 public:
  // `path` is for messages.
  Tables(const std::string &bytes, const std::string &path) : bytes_(bytes), path_(path)
  {
    if (line() != "kernpot tables 1\n")
      throw std::runtime_error(path_ + " is no file that `kernpot export --lammps` of this version wrote: export the model again");
    while (true) {
      const std::string head = line();
      char name[64], kind[8];
      int at = 0;
      if (sscanf(head.c_str(), "%63s %7s%n", name, kind, &at) < 2) damaged();
      if (!strcmp(name, "end")) {
        if (std::to_string(arrays_.size()) != kind) damaged();
        return;
      }
      Array array;
      size_t n = 1;
      unsigned long long length;
      for (int used = 0; sscanf(head.c_str() + at, "%llu%n", &length, &used) == 1; at += used) {
        array.shape.push_back(length);
        if (length != 0 && n > bytes_.size() / length) damaged();
        n *= length;
      }
      if (!strcmp(kind, "f8")) read<double>(array.real, n);
      else if (!strcmp(kind, "f4")) read<float>(array.real, n);
      else if (!strcmp(kind, "i8")) {
        read<int64_t>(array.integer, n);
        array.whole = true;
      }
      else damaged();
      if (!arrays_.emplace(name, std::move(array)).second) damaged();
    }
  }

  bool has(const std::string &name) const { return arrays_.count(name) > 0; }

  // An array, whose shape must be the one given; a -1 stands for any length.
  const Array &get(const std::string &name, const std::vector<int64_t> &shape) const
  {
    const auto at = arrays_.find(name);
    if (at == arrays_.end()) throw std::runtime_error(path_ + " has no " + name + ": export the model again");
    const Array &found = at->second;
    bool same = found.shape.size() == shape.size();
    for (size_t k = 0; same && k < shape.size(); k++) same = shape[k] < 0 || (size_t) shape[k] == found.shape[k];
    if (!same) throw std::runtime_error(path_ + ": " + name + " has an unexpected shape: export the model again");
    return found;
  }
  const std::vector<double> &real(const std::string &name, const std::vector<int64_t> &shape) const
  {
    const Array &found = get(name, shape);
    if (found.whole) damaged();
    for (double x : found.real)
      if (!std::isfinite(x)) damaged();
    return found.real;
  }
  const std::vector<int64_t> &integer(const std::string &name, const std::vector<int64_t> &shape) const
  {
    const Array &found = get(name, shape);
    if (!found.whole) damaged();
    return found.integer;
  }
  // A length or the like.
  double positive(const std::string &name) const
  {
    const double found = real(name, {})[0];
    if (!(found > 0)) damaged();
    return found;
  }

 private:
  const std::string &bytes_;
  std::string path_;
  size_t at_ = 0;
  std::map<std::string, Array> arrays_;

  [[noreturn]] void damaged() const
  {
    throw std::runtime_error(path_ + " is damaged or was cut short: export the model again");
  }

  std::string line()
  {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string::npos || end - at_ > 256) return "";
    const std::string found = bytes_.substr(at_, end + 1 - at_);
    at_ = end + 1;
    return found;
  }

  template <typename T, typename U> void read(std::vector<U> &values, size_t n)
  {
    if (n * sizeof(T) + 1 > bytes_.size() - at_) damaged();
    values.resize(n);
    for (size_t k = 0; k < n; k++) {
      T value;
      memcpy(&value, bytes_.data() + at_ + k * sizeof(T), sizeof(T));
      values[k] = (U) value;
    }
    at_ += n * sizeof(T);
    if (bytes_[at_++] != '\n') damaged();
  }
};

}    // namespace kernpot

#endif
