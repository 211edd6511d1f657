"""An untrained `tiny-omni`: the real Qwen2.5-Omni thinker class, processor and tokenizer class, made small.

It differs from a published checkpoint only in sizes, so that what runs on `tiny-omni` runs on the 7B:

1. `build_tokenizer`: byte-level BPE trained on every sentence of the toy world, with Qwen's special tokens. Each
   object's name is one token, so that a 20-option question has about 170 tokens.
2. `build_processor`: Qwen2-VL's image and video processors, limited to 84 x 84 pixels (3 x 3 tokens per temporal grid
   of two frames), and Whisper's feature extractor at 20 mel frames per second (5 audio tokens per second).
3. `build_model`: 8 decoder layers of width 128, one-second chunks. Weights have std 0.08: with transformers' default of
   0.02, far too small at this width, training would start from logits near zero.
"""

from __future__ import annotations

import torch

from avsink.compat import enable_torchvision
from avsink.toyworld import prompts

__all__ = ["MEL_PER_SECOND", "SPECIAL", "TOKENS_PER_SECOND", "build_model", "build_processor", "build_tokenizer"]

SAMPLING_RATE = 16_000  # Hz
MEL_PER_SECOND = 20
TOKENS_PER_SECOND = MEL_PER_SECOND // 4  # the audio tower halves the rate twice
SECONDS_PER_CHUNK = 1
FRAME_PIXELS = 84 * 84  # 3 x 3 tokens of 28 x 28 pixels
LONGEST_AUDIO = 30  # seconds; the feature extractor pads every sound to this
VOCABULARY = 640

SPECIAL = {
    "image_token": "<|IMAGE|>",
    "audio_token": "<|AUDIO|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
TEXT_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def build_tokenizer():
    """Build the tokenizer. It encodes any text, and each word of the toy world as one token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = TEXT_SPECIAL + list(SPECIAL.values())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(prompts.corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return Qwen2TokenizerFast(
        tokenizer_object=tokenizer,
        extra_special_tokens=SPECIAL,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )


def build_processor(tokenizer=None):
    """Build a small `Qwen2_5OmniProcessor`; by default with `build_tokenizer`'s tokenizer."""
    enable_torchvision()
    from transformers import Qwen2_5OmniProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor, WhisperFeatureExtractor

    size = {"shortest_edge": FRAME_PIXELS, "longest_edge": FRAME_PIXELS}
    return Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        video_processor=Qwen2VLVideoProcessor(size=size),
        feature_extractor=WhisperFeatureExtractor(
            feature_size=64,
            sampling_rate=SAMPLING_RATE,
            hop_length=SAMPLING_RATE // MEL_PER_SECOND,
            n_fft=1024,
            chunk_length=LONGEST_AUDIO,
            return_attention_mask=True,
        ),
        tokenizer=tokenizer or build_tokenizer(),
    )


def build_model(tokenizer=None, *, layers: int = 8, width: int = 128, seed: int = 0):
    """Build a small `Qwen2_5OmniThinkerForConditionalGeneration` with random weights.

    `width` must be a multiple of 64. torch's random state is set to `seed`.
    """
    enable_torchvision()
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

    tokenizer = tokenizer or build_tokenizer()
    ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in SPECIAL.items()}
    heads = width // 32  # with 32 dimensions each
    config = Qwen2_5OmniThinkerConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 3 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads // 2,
            "max_position_embeddings": 4096,
            "initializer_range": 0.08,
            # Time gets half of each head's frequency pairs, height and width a quarter each.
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [8, 4, 4]},
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "tie_word_embeddings": True,
        },
        audio_config={
            "num_mel_bins": 64,
            "d_model": 64,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 192,
            "max_source_positions": MEL_PER_SECOND * LONGEST_AUDIO // 2,
            "n_window": MEL_PER_SECOND * SECONDS_PER_CHUNK // 2,
            "output_dim": width,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 192,
            "num_heads": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
            "out_hidden_size": width,
        },
        audio_token_index=ids["audio_token"],
        image_token_index=ids["image_token"],
        video_token_index=ids["video_token"],
        audio_start_token_id=ids["audio_bos_token"],
        audio_end_token_id=ids["audio_eos_token"],
        user_token_id=tokenizer.encode("user")[0],
        position_id_per_seconds=TOKENS_PER_SECOND,
        seconds_per_chunk=SECONDS_PER_CHUNK,
        initializer_range=0.08,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    # Not fields of the config class, but read by get_rope_index: a published checkpoint's config.json has them too.
    config.vision_start_token_id = ids["vision_bos_token"]
    config.vision_end_token_id = ids["vision_eos_token"]
    torch.manual_seed(seed)
    model = Qwen2_5OmniThinkerForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model
