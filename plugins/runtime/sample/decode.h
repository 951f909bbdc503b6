// JPEG and PNG files to 8-bit pixels by the system's libraries, as Pillow decodes them: alpha dropped, palettes looked up, 16-bit grey by
// v / 257, CMYK converted, the EXIF orientation told and not applied.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "resize.h"
#include "result.h"

namespace se::sample {

using runtime::Error;
using runtime::Image;
using runtime::Result;

struct Decoded {
    Image image;
    int orientation = 1;
};

Result<Decoded> decode(std::filesystem::path const& file) noexcept;

//: The same, of a file's bytes; `name` is for messages.
Result<Decoded> decodeJpeg(std::string_view bytes, std::string const& name);
Result<Decoded> decodePng(std::string_view bytes, std::string const& name);

//: The orientation in a TIFF block (what stands behind "Exif\0\0"), 1 where it has none.
int orientation(std::string_view tiff);

//: Refuses a size before memory is taken for it.
bool tooLarge(uint64_t width, uint64_t height);

}  // namespace se::sample
