// Pillow's resampling of 8-bit images, bit for bit: the same filters, the same fixed-point sums, rounded between the two passes.
#pragma once

#include <cstdint>
#include <vector>

#include "manifest.h"

namespace se::runtime {

//: 8-bit pixels, rows from top to bottom, channels side by side: 1 (grey) or 3 (RGB).
struct Image {
    int width = 0;
    int height = 0;
    int channels = 0;
    std::vector<uint8_t> pixels;

    Image() = default;
    Image(int w, int h, int c) : width(w), height(h), channels(c), pixels(std::size_t{1} * w * h * c) {}
    std::size_t stride() const { return static_cast<std::size_t>(width) * channels; }
    uint8_t* row(int y) { return pixels.data() + stride() * y; }
    uint8_t const* row(int y) const { return pixels.data() + stride() * y; }
};

Image resized(Image const& image, int width, int height, Interpolation how);

}  // namespace se::runtime
