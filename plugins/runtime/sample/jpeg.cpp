#include <csetjmp>
#include <cstdio>
#include <string>

#include <jpeglib.h>

#include "decode.h"

namespace se::sample {
namespace {

//: libjpeg reports by jumping: everything with a destructor lives outside the function that is jumped out of.
struct Fault {
    jpeg_error_mgr base;
    std::jmp_buf back;
    char text[JMSG_LENGTH_MAX];
};

void leave(j_common_ptr state) {
    auto* fault = reinterpret_cast<Fault*>(state->err);
    fault->base.format_message(state, fault->text);
    std::longjmp(fault->back, 1);
}

//: A warning: data is damaged or cut off, which Pillow refuses too.
void strict(j_common_ptr state, int level) {
    if (level < 0) leave(state);
}

int orientationOf(jpeg_decompress_struct const& state) {
    for (jpeg_saved_marker_ptr marker = state.marker_list; marker != nullptr; marker = marker->next) {
        std::string_view const bytes(reinterpret_cast<char const*>(marker->data), marker->data_length);
        if (marker->marker == JPEG_APP0 + 1 && bytes.substr(0, 6) == std::string_view("Exif\0\0", 6)) return orientation(bytes.substr(6));
    }
    return 1;
}

//: Four inverted inks (as Adobe writes them) to RGB, by Pillow's rounding.
void inksToRgb(Image const& inks, Image& rgb) {
    auto const part = [](int a, int b) {
        int const t = a * b + 128;
        return ((t >> 8) + t) >> 8;
    };
    std::size_t const count = static_cast<std::size_t>(inks.width) * inks.height;
    for (std::size_t k = 0; k < count; ++k) {
        int const left = inks.pixels[4 * k + 3];  // 255 - black, black being 255 - what the file holds
        for (std::size_t c = 0; c < 3; ++c) rgb.pixels[3 * k + c] = static_cast<uint8_t>(left - part(255 - inks.pixels[4 * k + c], left));
    }
}

//: False where libjpeg gave up; `fault.text` says why.
bool read(jpeg_decompress_struct& state, Fault& fault, std::string_view bytes, Decoded& made) {
    if (setjmp(fault.back) != 0) return false;
    jpeg_create_decompress(&state);
    jpeg_save_markers(&state, JPEG_APP0 + 1, 0xFFFF);
    jpeg_mem_src(&state, reinterpret_cast<unsigned char const*>(bytes.data()), bytes.size());
    jpeg_read_header(&state, TRUE);
    bool const inks = state.jpeg_color_space == JCS_CMYK || state.jpeg_color_space == JCS_YCCK;
    bool const grey = state.jpeg_color_space == JCS_GRAYSCALE;
    state.out_color_space = inks ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    if (tooLarge(state.image_width, state.image_height)) {
        std::snprintf(fault.text, sizeof fault.text, "it has %u x %u pixels", state.image_width, state.image_height);
        return false;
    }
    made.orientation = orientationOf(state);
    jpeg_start_decompress(&state);
    made.image = Image(static_cast<int>(state.output_width), static_cast<int>(state.output_height), inks ? 4 : grey ? 1 : 3);
    while (state.output_scanline < state.output_height) {
        JSAMPROW row = made.image.row(static_cast<int>(state.output_scanline));
        jpeg_read_scanlines(&state, &row, 1);
    }
    jpeg_finish_decompress(&state);
    return true;
}

}  // namespace

Result<Decoded> decodeJpeg(std::string_view bytes, std::string const& name) {
    jpeg_decompress_struct state{};
    Fault fault{};
    state.err = jpeg_std_error(&fault.base);
    fault.base.error_exit = leave;
    fault.base.emit_message = strict;
    Decoded made;
    bool const whole = read(state, fault, bytes, made);
    jpeg_destroy_decompress(&state);
    if (!whole) return Error{name + " is not a readable JPEG: " + fault.text, "remove or replace it"};
    if (made.image.channels == 4) {
        Image rgb(made.image.width, made.image.height, 3);
        inksToRgb(made.image, rgb);
        made.image = std::move(rgb);
    }
    return made;
}

}  // namespace se::sample
