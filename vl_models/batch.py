"""What goes into a model and what comes out.

A *batch* is a dict of dense tensors (no strings); a key of an absent modality is absent:

====================  ====================  =================================================
key                   dtype and shape       meaning
====================  ====================  =================================================
image                 uint8 [B, H, W, 3]    RGB; the tower normalises
image_2               uint8 [B, H, W, 3]    second image or second view
image_extent          int32 [B, 2]          height and width within ``image``, if padded
image_…               uint8 [B, h, h, 3]    further sizes of the same crop, see ``image_sizes``
token_ids             int32 [B·n, L]        image-major: texts of row i are i·n … i·n + n - 1
text_mask             bool  [B·n, L]        True = token, False = padding
token_continuation    bool  [B·n, L]        True = the token continues the word before it
image_features        float32 [B, d]        precomputed image features
text_features         float32 [B·n, d]      precomputed text features
image_id_hash         int64 [B]             fingerprint of the image id
query_hash            int64 [B·n]           fingerprint of the normalised query
clicked_query_hashes  int64 [B, M]          those of queries known to click image i, -1 padded
row                   int64 [B]             stable index of the Example, and of its copy
seed                  int32 [B, 2]          from (run, epoch, row): all randomness of a row
clicked_query_weight  float32 [B, M]        their share of image i: weights by idf, unit norm
label                 float32 [B, C]        multi-hot; label_id int32 [B], -1 = none
text_label            float32 [B, C']       where the texts have a label set of their own
query_weight          float32 [B·n]         debiased click weight of the drawn text
image_log_q           float32 [B]           log share of the draws, for the logQ correction
answer                float32 [B, A]        scores of the data's answers
source_type           int32 [B]             index into features.SOURCE_TYPES
source_id             int32 [B]             index of the data source in the mixer
====================  ====================  =================================================
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

Batch = Mapping[str, tf.Tensor]
Outputs = dict[str, tf.Tensor]
