// se_classify ENGINE IMAGE... [--raw FILE]: a line for each image, with its class and score.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "decode.h"
#include "engine.h"
#include "preprocess.h"

namespace {

using namespace se::runtime;

struct Words {
    std::string engine, raw;
    std::vector<std::string> images;
};

int say(Error const& error) {
    std::fprintf(stderr, "error: %s\n", error.line().c_str());
    return 1;
}

Result<Words> read(int count, char** words) {
    Words made;
    for (int k = 1; k < count; ++k) {
        std::string const word = words[k];
        if (word == "--raw" && k + 1 < count) {
            made.raw = words[++k];
        } else if (made.engine.empty()) {
            made.engine = word;
        } else {
            made.images.push_back(word);
        }
    }
    if (made.images.empty()) return Error{"too few words", "se_classify ENGINE IMAGE... [--raw FILE]"};
    return made;
}

//: Prepares images one after another until the batch is full.
Result<std::vector<float>> batchOf(std::vector<std::string> const& files, std::size_t first, std::size_t rows, Preprocess const& how,
                                   Picture& size) {
    std::vector<float> made;
    for (std::size_t k = first; k < first + rows; ++k) {
        Result<se::sample::Decoded> const decoded = se::sample::decode(files[k]);
        if (!decoded) return decoded.error();
        Result<Picture> const picture = preprocess(decoded.value().image, decoded.value().orientation, how);
        if (!picture) return picture.error();
        if (k > first && (picture.value().width != size.width || picture.value().height != size.height))
            return Error{files[k] + " is of another size than those before it", "give it by itself"};
        size = {picture.value().channels, picture.value().height, picture.value().width, {}};
        made.insert(made.end(), picture.value().values.begin(), picture.value().values.end());
    }
    return made;
}

void print(std::string const& file, float const* scores, std::size_t count, std::vector<std::string> const& labels) {
    std::size_t const best = static_cast<std::size_t>(std::max_element(scores, scores + count) - scores);
    std::string const label = best < labels.size() ? labels[best] : std::to_string(best);
    std::printf("%s\t%s (%.4g)\n", file.c_str(), label.c_str(), static_cast<double>(scores[best]));
}

int classify(Words const& words) {
    Result<std::unique_ptr<Engine>> engine = open(words.engine, {});
    if (!engine) return say(engine.error());
    Manifest const& manifest = engine.value()->manifest();
    Port const& input = manifest.inputs.front();
    if (manifest.inputs.size() != 1 || input.type != Type::kFloat32 || input.shape.size() != 4)
        return say({words.engine + " does not take one batch of pictures", "write a program of your own around engine.h"});
    std::ofstream raw;
    if (!words.raw.empty()) raw.open(words.raw, std::ios::binary);
    std::size_t const most = static_cast<std::size_t>(input.shape[0] < 0 ? input.max[0] : input.shape[0]);
    for (std::size_t first = 0; first < words.images.size(); first += most) {
        std::size_t const rows = std::min(most, words.images.size() - first);
        Picture size;
        Result<std::vector<float>> batch = batchOf(words.images, first, rows, manifest.preprocess, size);
        if (!batch) return say(batch.error());
        std::size_t const full = input.shape[0] < 0 ? rows : most;  // a fixed batch is filled up with zeros
        batch.value().resize(batch.value().size() / rows * full);
        Result<std::vector<View>> const got = engine.value()->run(
            {{input.name, input.type, {static_cast<int64_t>(full), size.channels, size.height, size.width}, batch.value().data()}});
        if (!got) return say(got.error());
        View const& scores = got.value().front();
        if (scores.type != Type::kFloat32)
            return say({"output " + scores.name + " is not float32", "write a program of your own around engine.h"});
        std::size_t const each = scores.size() / sizeof(float) / full;
        float const* values = static_cast<float const*>(scores.data);
        for (std::size_t k = 0; k < rows; ++k) print(words.images[first + k], values + k * each, each, manifest.labels);
        if (raw.is_open()) raw.write(reinterpret_cast<char const*>(values), static_cast<std::streamsize>(rows * each * sizeof(float)));
    }
    return 0;
}

}  // namespace

int main(int count, char** words) {
    Result<Words> const read_words = read(count, words);
    return read_words ? classify(read_words.value()) : say(read_words.error());
}
