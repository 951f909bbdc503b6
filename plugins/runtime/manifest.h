// The engine's manifest (FILE.json), as se_deploy/artifacts.py writes it, and the checks that need no engine.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "result.h"

namespace se::runtime {

enum class Type : int { kFloat32, kFloat16, kFloat64, kInt8, kUInt8, kInt32, kInt64, kBool };

//: NumPy's name of a type, and the bytes of one element.
char const* name(Type type);
std::size_t bytes(Type type);

//: An input or output; -1 where a size is dynamic. The profile's shapes are empty for outputs.
struct Port {
    std::string name;
    Type type = Type::kFloat32;
    std::vector<int64_t> shape;
    std::vector<int64_t> min, opt, max;
};

enum class Interpolation { kNearest, kBilinear, kBicubic, kLanczos, kBox, kHamming };
enum class Color { kRgb, kBgr, kGrey };

//: From a decoded image to the network's input; se_deploy/artifacts.py says what each word means.
struct Preprocess {
    struct Size {
        int height = 0;
        int width = 0;  // 0: `height` is the short side, the aspect ratio stays
    };
    std::optional<Size> resize;
    std::optional<Size> crop;
    Interpolation interpolation = Interpolation::kBilinear;
    Color color = Color::kRgb;
    double scale = 1;
    std::vector<double> mean;
    std::vector<double> std;

    int channels() const { return color == Color::kGrey ? 1 : 3; }
};

struct File {
    std::string file;
    std::string sha256;
};

struct Manifest {
    std::string name, backend, precision;
    File engine;
    std::optional<File> plugin;
    std::map<std::string, std::string> versions;
    std::vector<std::string> targets;
    std::vector<Port> inputs, outputs;
    Preprocess preprocess;
    std::vector<std::string> labels;
};

//: A manifest's text. Everything that is allocated is bounded by the text's own size.
Result<Manifest> parseManifest(std::string_view text) noexcept;

//: ENGINE.json beside an engine.
Result<Manifest> readManifest(std::filesystem::path const& engine) noexcept;

}  // namespace se::runtime
