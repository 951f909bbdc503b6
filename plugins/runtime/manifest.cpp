#include "manifest.h"

#include <algorithm>
#include <cmath>

#include "files.h"
#include "json.h"

namespace se::runtime {
namespace {

using json::Value;

constexpr std::uintmax_t kMaxBytes = 64U << 20;
constexpr int64_t kMaxExtent = (int64_t{1} << 31) - 1;
constexpr std::size_t kMaxRank = 8, kMaxPorts = 64;
//: Pixels of a side; a resize or crop beyond it is a mistake or an attack.
constexpr int kMaxSide = 8192;

constexpr std::array<std::string_view, 8> kTypes{"float32", "float16", "float64", "int8", "uint8", "int32", "int64", "bool"};
constexpr std::array<std::size_t, 8> kBytes{4, 2, 8, 1, 1, 4, 8, 1};
constexpr std::array<std::string_view, 6> kInterpolations{"nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"};
constexpr std::array<std::string_view, 3> kColors{"RGB", "BGR", "L"};

//: Reads members one after another; the first that is not as it must be is remembered, and the rest is skipped.
class Reader {
 public:
    bool ok() const { return fault_.empty(); }
    Error error() const { return Error{"the manifest's " + fault_, "build the engine again"}; }

    void fail(std::string const& where, char const* what) {
        if (ok()) fault_ = where + " " + what;
    }

    Value const* member(Value const& from, std::string const& key) {
        Value const* found = from.member(key);
        if (found == nullptr) fail(key, "is missing");
        return ok() ? found : nullptr;
    }

    std::string text(Value const& from, std::string const& key) {
        Value const* found = member(from, key);
        if (found == nullptr) return {};
        if (found->string() == nullptr) fail(key, "is no text");
        return ok() ? *found->string() : std::string();
    }

    json::Array list(Value const& from, std::string const& key) {
        Value const* found = member(from, key);
        if (found == nullptr) return {};
        if (found->array() == nullptr) fail(key, "is no list");
        return ok() ? *found->array() : json::Array();
    }

    //: A whole number of 1 to `most`.
    int64_t count(Value const& value, std::string const& where, int64_t most) {
        double const* number = value.number();
        if (number == nullptr || *number != std::floor(*number) || *number < 1 || *number > static_cast<double>(most)) {
            fail(where, "is no size");
            return 1;
        }
        return static_cast<int64_t>(*number);
    }

    template <std::size_t N>
    std::size_t word(Value const& from, std::string const& key, std::array<std::string_view, N> const& known) {
        std::string const said = text(from, key);
        auto const found = std::find(known.begin(), known.end(), said);
        if (found == known.end()) fail(key, "is a word that this version does not know");
        return ok() ? static_cast<std::size_t>(found - known.begin()) : 0;
    }

 private:
    std::string fault_;
};

File fileOf(Reader& read, Value const& from, std::string const& key) {
    Value const* found = read.member(from, key);
    if (found == nullptr) return {};
    File made{read.text(*found, "file"), read.text(*found, "sha256")};
    bool const hex = made.sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (made.sha256.size() != 64 || !hex) read.fail(key, "has no SHA-256");
    return made;
}

std::vector<int64_t> shapeOf(Reader& read, Value const& from, std::string const& key, bool dynamic) {
    std::vector<int64_t> made;
    for (Value const& item : read.list(from, key)) {
        bool const named = dynamic && item.string() != nullptr;
        made.push_back(named ? -1 : read.count(item, key, kMaxExtent));
    }
    if (made.size() > kMaxRank) read.fail(key, "has too many dimensions");
    return made;
}

std::vector<Port> portsOf(Reader& read, Value const& root, std::string const& key, bool input) {
    std::vector<Port> made;
    for (Value const& item : read.list(root, key)) {
        Port port;
        port.name = read.text(item, "name");
        port.type = static_cast<Type>(read.word(item, "dtype", kTypes));
        port.shape = shapeOf(read, item, "shape", true);
        if (input) {
            port.min = shapeOf(read, item, "min", false);
            port.opt = shapeOf(read, item, "opt", false);
            port.max = shapeOf(read, item, "max", false);
            std::size_t const rank = port.shape.size();
            if (port.min.size() != rank || port.opt.size() != rank || port.max.size() != rank)
                read.fail(key, "has a profile of another rank");
            for (std::size_t k = 0; read.ok() && k < rank; ++k)
                if (port.min[k] > port.opt[k] || port.opt[k] > port.max[k]) read.fail(key, "has a profile that does not grow");
        }
        made.push_back(std::move(port));
    }
    if (made.empty() || made.size() > kMaxPorts) read.fail(key, "are none, or too many");
    return made;
}

std::optional<Preprocess::Size> sizeOf(Reader& read, Value const& from, std::string const& key) {
    Value const* found = read.member(from, key);
    if (found == nullptr || found->null()) return std::nullopt;
    Preprocess::Size made;
    if (json::Array const* pair = found->array()) {
        if (pair->size() != 2) {
            read.fail(key, "is no pair");
            return std::nullopt;
        }
        made.height = static_cast<int>(read.count((*pair)[0], key, kMaxSide));
        made.width = static_cast<int>(read.count((*pair)[1], key, kMaxSide));
    } else {
        made.height = static_cast<int>(read.count(*found, key, kMaxSide));
    }
    return made;
}

std::vector<double> valuesOf(Reader& read, Value const& from, std::string const& key, bool divisor) {
    std::vector<double> made;
    for (Value const& item : read.list(from, key)) {
        double const* number = item.number();
        if (number == nullptr || (divisor && *number == 0)) read.fail(key, divisor ? "is no list of divisors" : "is no list of numbers");
        made.push_back(number == nullptr ? 1 : *number);
    }
    return made;
}

Preprocess preprocessOf(Reader& read, Value const& root) {
    Preprocess made;
    Value const* from = read.member(root, "preprocess");
    if (from == nullptr) return made;
    made.resize = sizeOf(read, *from, "resize");
    made.crop = sizeOf(read, *from, "crop");
    if (made.crop && made.crop->width == 0) made.crop->width = made.crop->height;
    made.interpolation = static_cast<Interpolation>(read.word(*from, "interpolation", kInterpolations));
    made.color = static_cast<Color>(read.word(*from, "color", kColors));
    Value const* scale = read.member(*from, "scale");
    if (scale != nullptr && (scale->number() == nullptr || *scale->number() <= 0)) read.fail("scale", "is not positive");
    if (read.ok()) made.scale = *scale->number();
    made.mean = valuesOf(read, *from, "mean", false);
    made.std = valuesOf(read, *from, "std", true);
    std::size_t const channels = static_cast<std::size_t>(made.channels());
    if (made.mean.size() != channels || made.std.size() != channels) read.fail("mean or std", "has not one value per channel");
    return made;
}

std::vector<std::string> textsOf(Reader& read, Value const& root, std::string const& key) {
    std::vector<std::string> made;
    for (Value const& item : read.list(root, key)) {
        if (item.string() == nullptr) read.fail(key, "is no list of texts");
        made.push_back(item.string() == nullptr ? std::string() : *item.string());
    }
    return made;
}

Manifest manifestOf(Reader& read, Value const& root) {
    Manifest made;
    Value const* format = read.member(root, "format");
    if (format != nullptr && (format->number() == nullptr || *format->number() != 1))
        read.fail("format", "is not 1, the one this loader reads");
    made.name = read.text(root, "name");
    made.backend = read.text(root, "backend");
    made.precision = read.text(root, "precision");
    made.engine = fileOf(read, root, "engine");
    Value const* plugin = read.member(root, "plugin");
    if (plugin != nullptr && !plugin->null()) made.plugin = fileOf(read, root, "plugin");
    Value const* versions = read.member(root, "versions");
    if (versions != nullptr && versions->object() == nullptr) read.fail("versions", "is no object");
    if (read.ok())
        for (auto const& [key, value] : *versions->object()) made.versions[key] = value.string() == nullptr ? "" : *value.string();
    made.targets = textsOf(read, root, "targets");
    made.inputs = portsOf(read, root, "inputs", true);
    made.outputs = portsOf(read, root, "outputs", false);
    made.preprocess = preprocessOf(read, root);
    Value const* labels = read.member(root, "labels");
    if (labels != nullptr && !labels->null()) made.labels = textsOf(read, root, "labels");
    return made;
}

}  // namespace

char const* name(Type type) { return kTypes[static_cast<std::size_t>(type)].data(); }
std::size_t bytes(Type type) { return kBytes[static_cast<std::size_t>(type)]; }

Result<Manifest> parseManifest(std::string_view text) noexcept {
    return guarded([&]() -> Result<Manifest> {
        Result<Value> const root = json::parse(text);
        if (!root) return Error{"the manifest is " + root.error().message, root.error().hint};
        Reader read;
        Manifest made = manifestOf(read, root.value());
        if (!read.ok()) return read.error();
        return made;
    });
}

Result<Manifest> readManifest(std::filesystem::path const& engine) noexcept {
    return guarded([&]() -> Result<Manifest> {
        std::filesystem::path const beside = engine.string() + ".json";
        Result<std::string> text = contents(beside, kMaxBytes);
        // A Triton repository's version folder calls it manifest.json.
        if (!text) text = contents(engine.parent_path() / "manifest.json", kMaxBytes);
        if (!text) return Error{"no manifest " + beside.string(), "make an engine of it with `se-deploy build`"};
        Result<Manifest> made = parseManifest(text.value());
        if (!made) return Error{beside.string() + ": " + made.error().message, made.error().hint};
        return made;
    });
}

}  // namespace se::runtime
