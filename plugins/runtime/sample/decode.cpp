#include "decode.h"

#include "files.h"

namespace se::sample {
namespace {

constexpr std::uintmax_t kMaxFile = 256U << 20;
constexpr uint64_t kMaxPixels = uint64_t{1} << 28, kMaxSide = uint64_t{1} << 16;

//: Numbers of a TIFF block, in its own byte order; 0 beyond its end.
class Tiff {
 public:
    explicit Tiff(std::string_view bytes) : bytes_(bytes), big_(bytes.substr(0, 2) == "MM") {}

    uint32_t number(std::size_t at, std::size_t size) const {
        if (at > bytes_.size() || size > bytes_.size() - at) return 0;
        uint32_t made = 0;
        for (std::size_t k = 0; k < size; ++k) {
            std::size_t const place = big_ ? at + k : at + size - 1 - k;
            made = made << 8 | static_cast<unsigned char>(bytes_[place]);
        }
        return made;
    }

 private:
    std::string_view bytes_;
    bool big_;
};

}  // namespace

bool tooLarge(uint64_t width, uint64_t height) { return width > kMaxSide || height > kMaxSide || width * height > kMaxPixels; }

int orientation(std::string_view tiff) {
    constexpr uint32_t kOrientation = 0x0112, kShort = 3;
    Tiff const read(tiff);
    std::size_t const directory = read.number(4, 4);
    uint32_t const entries = read.number(directory, 2);
    for (uint32_t k = 0; k < entries; ++k) {
        std::size_t const entry = directory + 2 + std::size_t{12} * k;
        if (read.number(entry, 2) != kOrientation) continue;
        uint32_t const value = read.number(entry + 8, 2);
        return read.number(entry + 2, 2) == kShort && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
}

Result<Decoded> decode(std::filesystem::path const& file) noexcept {
    return runtime::guarded([&]() -> Result<Decoded> {
        Result<std::string> const bytes = runtime::contents(file, kMaxFile);
        if (!bytes) return bytes.error();
        std::string_view const view = bytes.value();
        if (view.substr(0, 2) == "\xFF\xD8") return decodeJpeg(view, file.string());
        if (view.substr(0, 8) == "\x89PNG\r\n\x1A\n") return decodePng(view, file.string());
        return Error{file.string() + " is neither JPEG nor PNG", "convert it"};
    });
}

}  // namespace se::sample
