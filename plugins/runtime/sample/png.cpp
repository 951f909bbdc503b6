#include <png.h>

#include <cstring>
#include <string>
#include <vector>

#include "decode.h"

namespace se::sample {
namespace {

//: What a run of libpng needs; it reports by jumping, so everything with a destructor lives here, outside of what is jumped out of.
struct Work {
    std::string_view bytes;
    std::size_t at = 0;
    char fault[256] = "it cannot be read";
    std::vector<uint8_t> samples;
    std::vector<png_bytep> rows;
    int width = 0, height = 0, channels = 0, depth = 0, orientation = 1;
};

void take(png_structp png, png_bytep into, std::size_t count) {
    auto* work = static_cast<Work*>(png_get_io_ptr(png));
    if (count > work->bytes.size() - work->at) png_error(png, "it is cut off");
    std::memcpy(into, work->bytes.data() + work->at, count);
    work->at += count;
}

void fail(png_structp png, png_const_charp text) {
    auto* work = static_cast<Work*>(png_get_error_ptr(png));
    std::strncpy(work->fault, text, sizeof work->fault - 1);
    png_longjmp(png, 1);
}

void quiet(png_structp, png_const_charp) {}

//: 8 bits of grey or RGB; 16-bit grey keeps its bits, to be rounded and not cut.
void transform(png_structp png, png_infop info) {
    int const kind = png_get_color_type(png, info);
    if (kind == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (kind == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (kind != PNG_COLOR_TYPE_GRAY) png_set_strip_16(png);
    if ((kind & PNG_COLOR_MASK_ALPHA) != 0 || kind == PNG_COLOR_TYPE_PALETTE) png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

bool read(png_structp png, png_infop info, Work& work) {
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_set_read_fn(png, &work, take);
    png_read_info(png, info);
    if (tooLarge(png_get_image_width(png, info), png_get_image_height(png, info))) png_error(png, "it has too many pixels");
    transform(png, info);
    work.width = static_cast<int>(png_get_image_width(png, info));
    work.height = static_cast<int>(png_get_image_height(png, info));
    work.channels = png_get_channels(png, info);
    work.depth = png_get_bit_depth(png, info);
    std::size_t const stride = png_get_rowbytes(png, info);
    work.samples.resize(stride * work.height);
    work.rows.resize(work.height);
    for (int y = 0; y < work.height; ++y) work.rows[y] = work.samples.data() + stride * y;
    png_read_image(png, work.rows.data());
    png_read_end(png, info);
    png_bytep exif = nullptr;
    png_uint_32 size = 0;
    if (png_get_eXIf_1(png, info, &size, &exif) != 0) work.orientation = orientation({reinterpret_cast<char const*>(exif), size});
    return true;
}

Image imageOf(Work const& work) {
    Image made(work.width, work.height, work.channels);
    for (std::size_t k = 0; k < made.pixels.size(); ++k) {
        int const wide = work.depth == 16 ? work.samples[2 * k] << 8 | work.samples[2 * k + 1] : 0;
        made.pixels[k] = static_cast<uint8_t>(work.depth == 16 ? (wide + 128) / 257 : work.samples[k]);
    }
    return made;
}

}  // namespace

Result<Decoded> decodePng(std::string_view bytes, std::string const& name) {
    Work work;
    work.bytes = bytes;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &work, fail, quiet);
    png_infop info = png == nullptr ? nullptr : png_create_info_struct(png);
    bool const whole = info != nullptr && read(png, info, work);
    if (png != nullptr) png_destroy_read_struct(&png, &info, nullptr);
    if (!whole) return Error{name + " is not a readable PNG: " + work.fault, "remove or replace it"};
    if (work.channels != 1 && work.channels != 3) return Error{name + " has " + std::to_string(work.channels) + " channels", "convert it"};
    return Decoded{imageOf(work), work.orientation};
}

}  // namespace se::sample
