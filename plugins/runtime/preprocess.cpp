#include "preprocess.h"

#include <algorithm>

namespace se::runtime {
namespace {

//: Pixels that a resize may make.
constexpr int64_t kMaxPixels = int64_t{1} << 28;

//: EXIF's orientations: whether rows become columns, and which sides are mirrored afterwards.
struct Turn {
    bool swap, mirrorX, mirrorY;
};
constexpr std::array<Turn, 9> kTurns{{{false, false, false},
                                      {false, false, false},
                                      {false, true, false},
                                      {false, true, true},
                                      {false, false, true},
                                      {true, false, false},
                                      {true, true, false},
                                      {true, true, true},
                                      {true, false, true}}};

Image oriented(Image const& image, int orientation) {
    Turn const turn = kTurns[orientation >= 1 && orientation <= 8 ? orientation : 1];
    Image made(turn.swap ? image.height : image.width, turn.swap ? image.width : image.height, image.channels);
    for (int y = 0; y < made.height; ++y) {
        for (int x = 0; x < made.width; ++x) {
            int const u = turn.mirrorX ? made.width - 1 - x : x, v = turn.mirrorY ? made.height - 1 - y : y;
            uint8_t const* from = image.row(turn.swap ? u : v) + static_cast<std::size_t>(turn.swap ? v : u) * image.channels;
            std::copy_n(from, image.channels, made.row(y) + static_cast<std::size_t>(x) * image.channels);
        }
    }
    return made;
}

//: Grey of RGB by ITU-R 601 in fixed point, as Pillow rounds it; RGB of grey by repeating.
Image coloured(Image const& image, int channels) {
    if (image.channels == channels) return image;
    Image made(image.width, image.height, channels);
    std::size_t const count = static_cast<std::size_t>(image.width) * image.height;
    for (std::size_t k = 0; k < count; ++k) {
        if (channels == 3) {
            std::fill_n(made.pixels.begin() + static_cast<std::ptrdiff_t>(3 * k), 3, image.pixels[k]);
        } else {
            uint8_t const* p = image.pixels.data() + 3 * k;
            made.pixels[k] = static_cast<uint8_t>((p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16);
        }
    }
    return made;
}

//: The size after resizing; one number is the short side, the long one truncated as torchvision does.
Preprocess::Size target(Image const& image, Preprocess::Size asked) {
    if (asked.width != 0) return asked;
    auto const along = [&](int other, int shorter) {
        double const made = static_cast<double>(int64_t{asked.height} * other) / shorter;
        return static_cast<int>(std::min(made, 2147483647.0));
    };
    if (image.width <= image.height) return {along(image.height, image.width), asked.height};
    return {asked.height, along(image.width, image.height)};
}

//: Half of a difference, rounded half to even.
int half(int difference) { return difference / 2 + (difference % 2 != 0 && (difference / 2) % 2 != 0 ? 1 : 0); }

//: torchvision's CenterCrop: black around where the image is smaller.
Image cropped(Image const& image, Preprocess::Size size) {
    Image made(size.width, size.height, image.channels);
    auto const offset = [](int have, int want) { return have >= want ? half(have - want) : -((want - have) / 2); };
    int const top = offset(image.height, size.height), left = offset(image.width, size.width);
    for (int y = std::max(0, -top); y < size.height && y + top < image.height; ++y) {
        int const first = std::max(0, -left), last = std::min(size.width, image.width - left);
        if (last > first)
            std::copy_n(image.row(y + top) + static_cast<std::size_t>(first + left) * image.channels,
                        static_cast<std::size_t>(last - first) * image.channels,
                        made.row(y) + static_cast<std::size_t>(first) * image.channels);
    }
    return made;
}

Picture normalised(Image const& image, Preprocess const& how) {
    Picture made{image.channels, image.height, image.width, {}};
    std::size_t const count = static_cast<std::size_t>(image.width) * image.height;
    made.values.resize(count * image.channels);
    float const scale = static_cast<float>(how.scale);
    for (int c = 0; c < image.channels; ++c) {
        int const from = how.color == Color::kBgr ? image.channels - 1 - c : c;
        float const mean = static_cast<float>(how.mean[c]), std = static_cast<float>(how.std[c]);
        float* to = made.values.data() + count * c;
        std::array<float, 256> table{};  // every value a pixel can have
        for (int v = 0; v < 256; ++v) table[v] = (static_cast<float>(v) * scale - mean) / std;
        for (std::size_t k = 0; k < count; ++k) to[k] = table[image.pixels[k * image.channels + from]];
    }
    return made;
}

}  // namespace

Result<Picture> preprocess(Image const& image, int orientation, Preprocess const& how) noexcept {
    return guarded([&]() -> Result<Picture> {
        bool const sized = image.width > 0 && image.height > 0 && (image.channels == 1 || image.channels == 3);
        if (!sized || image.pixels.size() != image.stride() * image.height)
            return Error{"an image has 1 or 3 channels and as many pixels as its size says", "decode it again"};
        Image made = coloured(oriented(image, orientation), how.channels());
        if (how.resize) {
            Preprocess::Size const size = target(made, *how.resize);
            if (size.height < 1 || size.width < 1 || int64_t{size.height} * size.width > kMaxPixels)
                return Error{"the image is too long for this resize", "leave it out"};
            made = resized(made, size.width, size.height, how.interpolation);
        }
        if (how.crop) made = cropped(made, *how.crop);
        return normalised(made, how);
    });
}

}  // namespace se::runtime
